"""Which clips of a manifest are trained on: so many minutes of them, or none that are alike."""

from dataclasses import replace

import numpy as np

from audiodiff.data.audit import NAME, Audit
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError


def first_minutes(manifest: Manifest, minutes: float) -> Manifest:
    """Leave out training clips beyond so many minutes, in an order that depends on their ids alone.

    More minutes contain fewer. The clip that would exceed them is left out, and all after it.

    Raises:
        UserError: the first one is longer already.
    """
    training = sorted((clip for clip in manifest.clips if clip.split == "train"), key=lambda one: clip_seed(0, one.id))
    ends = np.cumsum([clip.seconds for clip in training])
    chosen = {clip.id for clip, end in zip(training, ends, strict=True) if end <= 60 * minutes}
    if training and not chosen:
        raise UserError(f"data.minutes {minutes:g}", f"is shorter than the clip {training[0].id}", "set more")
    return replace(manifest, clips=tuple(clip for clip in manifest.clips if clip.split != "train" or clip.id in chosen))


def without_duplicates(manifest: Manifest) -> Manifest:
    """The clips without the training clips that the audit found to be like an earlier, or a held-out one.

    Raises:
        UserError: the audit beside the manifest is missing or of other clips.
    """
    if not Audit.matches(manifest):
        fix = "run `audiodiff prepare` with this folder as --out again"
        raise UserError(manifest.root / NAME, "is missing, or not of this manifest", fix)
    splits = {clip.id: clip.split for clip in manifest.clips}
    left_out = set()
    for later, earlier in Audit.load(manifest.root).pairs or ():
        left_out |= {next((one for one in (later, earlier) if splits.get(one) == "train"), "")}
    return replace(manifest, clips=tuple(clip for clip in manifest.clips if clip.id not in left_out))
