"""Selection of training clips: up to a total length, or without duplicates."""

from collections import defaultdict
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
    """Leave out training clips that are duplicates or near-duplicates of a held-out or of an earlier training clip.

    Duplicates have the same samples. Near-duplicates are those of the audit, which compares clips with a caption or
    label. A clip that is similar only to clips that are left out stays.

    Raises:
        UserError: the audit beside the manifest is missing, of other clips, or of an earlier version.
    """
    if not Audit.matches(manifest):
        problem, fix = "is missing, outdated or of another manifest", "run `audiodiff prepare` with this --out again"
        raise UserError(manifest.root / NAME, problem, fix)
    neighbors: dict[str, set[str]] = defaultdict(set)
    for one, other in Audit.load(manifest.root).similar or ():
        neighbors[one].add(other)
        neighbors[other].add(one)
    held_out = [clip for clip in manifest.clips if clip.split != "train"]
    chosen, contents = {clip.id for clip in held_out}, {clip.content for clip in held_out}
    for clip in manifest.clips:
        known = bool(clip.content) and clip.content in contents
        if clip.split == "train" and not known and chosen.isdisjoint(neighbors[clip.id]):
            chosen.add(clip.id)
            contents.add(clip.content)
    return replace(manifest, clips=tuple(clip for clip in manifest.clips if clip.id in chosen))
