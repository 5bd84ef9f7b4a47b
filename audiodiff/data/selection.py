"""Selection of training clips: up to a total length, or without duplicates."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from audiodiff.audio.io import read
from audiodiff.data.audit import NAME, Audit
from audiodiff.data.fingerprint import fingerprint, near_duplicates
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


def without_duplicates(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Leave out training clips that are duplicates or near-duplicates of a held-out or of an earlier training clip.

    Duplicates have the same samples. Near-duplicates are those of the audit, which compares clips with a caption or
    label. A clip that is similar only to clips that are left out stays. Of several manifests, all clips are compared
    with each other: their files are read once, since an audit knows those of one folder.

    Raises:
        UserError: the audit beside a manifest is missing, of other clips, or of an earlier version; or a file of
            several manifests cannot be read.
    """
    pairs = [pair for manifest in manifests for pair in _audited(manifest)]
    if len(manifests) > 1:
        pairs += _compared(manifests)
    neighbors: dict[str, set[str]] = defaultdict(set)
    for one, other in pairs:
        neighbors[one].add(other)
        neighbors[other].add(one)
    clips = [clip for manifest in manifests for clip in manifest.clips]
    held_out = [clip for clip in clips if clip.split != "train"]
    chosen, contents = {clip.id for clip in held_out}, {clip.content for clip in held_out}
    for clip in clips:
        known = bool(clip.content) and clip.content in contents
        if clip.split == "train" and not known and chosen.isdisjoint(neighbors[clip.id]):
            chosen.add(clip.id)
            contents.add(clip.content)
    return [replace(one, clips=tuple(clip for clip in one.clips if clip.id in chosen)) for one in manifests]


def _audited(manifest: Manifest) -> list[tuple[str, str]]:
    """Ids of the near-duplicates that the audit of a manifest found."""
    if not Audit.matches(manifest):
        problem, fix = "is missing, outdated or of another manifest", "run `audiodiff prepare` with this --out again"
        raise UserError(manifest.root / NAME, problem, fix)
    return Audit.load(manifest.root).similar or []


def _compared(manifests: Sequence[Manifest]) -> list[tuple[str, str]]:
    """Ids of the near-duplicates among all clips of several manifests."""
    ids, prints = [], []
    described = [(one, clip) for one in manifests for clip in one.clips if clip.caption or clip.label]
    for manifest, clip in tqdm(described, desc="comparing the folders of data.path", unit="clip", leave=False):
        audio = read(manifest.path(clip), channels=clip.channels)
        ids.append(clip.id)
        prints.append(fingerprint(audio.samples.numpy(), audio.sample_rate))
    return [(ids[one], ids[other]) for one, other, _ in near_duplicates(prints)]
