"""Where the clips of a manifest come from and on what terms: what a model card has to say of its data."""

from collections import defaultdict
from dataclasses import dataclass

from audiodiff.data.corpora import attribution
from audiodiff.data.manifest import Clip, Manifest


@dataclass(frozen=True)
class Provenance:
    """One corpus of a manifest.

    Attributes:
        corpus: its label.
        source: package and version, or whatever else it was made from.
        license: as its copyright file states it.
        attribution: whom its copyright file names, in its words; "" where it names nobody.
        hours: of all its clips.
        training_hours: of those on the training side.
        speakers: how many it tells apart.
        synthetic: made by a machine, not recorded.
    """

    corpus: str
    source: str
    license: str
    attribution: str
    hours: float
    training_hours: float
    speakers: int
    synthetic: bool


def provenance(manifest: Manifest) -> list[Provenance]:
    """Of every corpus in a manifest, by its label."""
    corpora: dict[str, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        corpora[clip.id.split("/")[0]].append(clip)
    return [
        Provenance(
            corpus=label,
            source="; ".join(sorted({clip.source for clip in clips if clip.source})),
            license="; ".join(sorted({clip.license for clip in clips if clip.license})) or "not stated",
            attribution=attribution(manifest, label),
            hours=sum(clip.seconds for clip in clips) / 3600,
            training_hours=sum(clip.seconds for clip in clips if clip.split == "train") / 3600,
            speakers=len({clip.speaker for clip in clips}),
            synthetic=any(clip.synthetic for clip in clips),
        )
        for label, clips in sorted(corpora.items())
    ]
