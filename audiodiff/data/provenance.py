"""Sources, licenses and terms of a manifest's corpora, for model cards."""

from collections import defaultdict
from dataclasses import dataclass

from audiodiff.data.licenses import Terms, license_terms, spdx
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.preparation import attribution


@dataclass(frozen=True)
class Provenance:
    """Source and license of one corpus of a manifest.

    Attributes:
        corpus: label of the corpus.
        source: package and version, or folder.
        license: all licenses of its clips, as stated by the corpus (`licenses.spdx`), separated by "; ".
        attribution: who is to be named, in the words of its copyright file; "" for nobody.
        hours: duration of all clips.
        training_hours: duration of the training split.
        speakers: number of speakers.
        synthetic: whether clips are machine-made.
        spoken: whether clips have texts that are spoken.
    """

    corpus: str
    source: str
    license: str
    attribution: str
    hours: float
    training_hours: float
    speakers: int
    synthetic: bool
    spoken: bool = False

    @property
    def terms(self) -> Terms:
        """The terms of its licenses."""
        return license_terms(self.license)


def provenance(manifest: Manifest) -> list[Provenance]:
    """The provenance of every corpus in a manifest, sorted by label."""
    corpora: dict[str, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        corpora[clip.id.split("/")[0]].append(clip)
    return [
        Provenance(
            corpus=label,
            source="; ".join(sorted({clip.source for clip in clips if clip.source})),
            license="; ".join(sorted({spdx(clip.license) for clip in clips if clip.license})) or "not stated",
            attribution=attribution(manifest, label),
            hours=sum(clip.seconds for clip in clips) / 3600,
            training_hours=sum(clip.seconds for clip in clips if clip.split == "train") / 3600,
            speakers=len({clip.speaker for clip in clips}),
            synthetic=any(clip.synthetic for clip in clips),
            spoken=any(clip.text for clip in clips),
        )
        for label, clips in sorted(corpora.items())
    ]
