"""The seed rule: which noise a clip starts from.

A seed stands for a whole series of clips. Clip i of seed s starts from the noise of `clip_seed(s, str(i))`, for any
count, batch, device and type of model, in the API, on the command line and in the demo; a single clip is clip 0. Clips
that are rendered from named inputs take their name in place of i, so that inputs can be added, removed and reordered
without changing the others: `audiodiff render` names them by the manifest's id or the file's path without suffix.

Several takes of one named input are takes of its seed: take 0 has the seed itself, so that it is the clip that is
rendered without takes, and take k a seed that is derived from it (`take_seed`).

Where an exact noise is wanted, pipelines take `clip_seeds`, one for each clip, in place of a seed.
"""

from collections.abc import Iterable, Sequence
from typing import SupportsFloat

from audiodiff.diffusion.noise import clip_seed, stable_hash
from audiodiff.errors import UserError
from audiodiff.options import whole_number


def clip_seeds(seed: int, clips: int | Iterable[str]) -> list[int]:
    """Seeds of so many clips of a seed, or of clips with these names."""
    names = map(str, range(clips)) if isinstance(clips, int) else clips
    return [clip_seed(seed, name) for name in names]


def take_seed(seed: int, take: int) -> int:
    """The seed of a take of an input whose seed this is."""
    return stable_hash("take", seed, take) if take else seed


def resolve(seed: SupportsFloat, explicit: Sequence[SupportsFloat] | None, clips: int | None) -> list[int]:
    """Seeds of a pipeline's clips, of `seed` and `clip_seeds` as its caller passes them.

    Args:
        seed: of all clips.
        explicit: one for each clip, in place of `seed`.
        clips: how many; None: as many as there are explicit ones.

    Raises:
        UserError: not integers, or another number of them than of clips.
    """
    if explicit is None:
        return clip_seeds(whole_number(seed, "seed"), 1 if clips is None else clips)
    if not isinstance(explicit, Iterable) or getattr(explicit, "ndim", 1) != 1:
        raise UserError(f"clip_seeds {explicit!r:.60}", "expected a list", "pass one for each clip, or seed=")
    listed = [whole_number(one, "clip seed") for one in explicit]
    if clips is not None and len(listed) != clips:
        raise UserError("clip_seeds", f"{len(listed)} for {clips} clips", "pass one for each clip, or seed=")
    return listed
