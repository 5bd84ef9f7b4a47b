"""The audit: statistics of a manifest's clips, and a list of suspicious ones. Nothing in it is fatal.

Every file is read once. The thresholds below flag clips that are worth listening to.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from audiodiff.audio.io import read
from audiodiff.data.balance import word_counts
from audiodiff.data.fingerprint import fingerprint, near_duplicates
from audiodiff.data.manifest import SPLITS, Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.files import write_text

NAME = "audit.json"
CLIPPED_LEVEL = 0.999  # of full scale
CLIPPED_RUN = 3  # samples in a row at that level: a peak that only touches full scale is not clipped
DC_OFFSET = 0.01  # of full scale
SILENT_DBFS = -60.0  # a frame below this level is silent
SILENT_FRACTION = 0.5  # of a clip's frames
FRAME_SECONDS = 0.02
MISFIT_MARGIN, MISFIT_DEVIATIONS = 0.5, 5.0  # nats per frame, and robust deviations, below the corpus' median
QUIET_DBFS, LOUD_DBFS = -40.0, -6.0  # RMS level of a whole clip
SLOWEST, FASTEST = 3.0, 22.0  # letters or phonemes per second, without the silence at the ends where it is known
SHOWN_WORDS = 12
FEWEST_LETTERS = 10  # a word alone may be as slow as it likes
LONGEST_PHONEME = 1.0  # seconds; pauses are longer
FINDINGS = {
    "clipping": f"{CLIPPED_RUN} or more samples in a row at full scale",
    "dc": f"mean beyond {DC_OFFSET:g} of full scale",
    "silence": f"more than {SILENT_FRACTION:.0%} of it below {SILENT_DBFS:g} dBFS",
    "level": f"RMS outside {QUIET_DBFS:g} to {LOUD_DBFS:g} dBFS",
    "text": "speech rate, duration of a phoneme or alignment score that does not fit its text",
    "duplicates": "same samples as another clip",
    "near-duplicates": "nearly the same sound as another clip, of those with a label or a caption",
    "unreadable": "cannot be read, left out",
    "left out": "prepared on purpose without these",
}


@dataclass(frozen=True)
class ClipStatistics:
    """RMS level and peak of one clip in dBFS, mean, fraction of silent frames, number of samples in clipped runs."""

    rms_dbfs: float
    peak_dbfs: float
    dc: float
    silent_fraction: float
    clipped_samples: int

    def findings(self) -> list[tuple[str, str]]:
        """(kind, measurement) of every statistic beyond its threshold."""
        found = []
        if self.clipped_samples:
            found.append(("clipping", f"{self.clipped_samples} samples"))
        if abs(self.dc) > DC_OFFSET:
            found.append(("dc", f"mean {self.dc:+.3f}"))
        if self.silent_fraction > SILENT_FRACTION:
            found.append(("silence", f"{self.silent_fraction:.0%} silent"))
        if not QUIET_DBFS <= self.rms_dbfs <= LOUD_DBFS:
            found.append(("level", f"RMS {self.rms_dbfs:.1f} dBFS"))
        return found


@dataclass(frozen=True)
class CorpusSummary:
    """Statistics of a corpus."""

    clips: int
    hours: float
    hours_by_split: dict[str, float]
    clips_by_split: dict[str, int]
    sample_rates: dict[int, int]
    speakers: int
    with_text: int
    synthetic: bool
    licenses: list[str]
    shortest_seconds: float
    longest_seconds: float
    rms_dbfs: tuple[float, ...] | None
    peak_dbfs: float | None
    caption_words: dict[str, int] = field(default_factory=dict)

    def describe_captions(self) -> str:
        """The most frequent words of captions and their counts, "" if there are no captions."""
        words = list(self.caption_words.items())
        if not words:
            return ""
        single = sum(count == 1 for _, count in words)
        most = ", ".join(f"{word} {count}" for word, count in words[:SHOWN_WORDS])
        return f"  {len(words)} caption words, {single} of them in one clip only; in most clips: {most}"


@dataclass(frozen=True)
class Audit:
    """What is known of a manifest's clips.

    Attributes:
        manifest_hash: of the manifest.
        corpora: a summary of each corpus.
        findings: (clip or file, problem) of each kind of finding.
        similar: (clip, earlier clip), all pairs of near-duplicates; None in audits of earlier versions.
    """

    manifest_hash: str
    corpora: dict[str, CorpusSummary]
    findings: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    similar: list[tuple[str, str]] | None = None

    def save(self, folder: Path) -> Path:
        """Write audit.json into `folder`."""
        write_text(folder / NAME, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return folder / NAME

    @classmethod
    def load(cls, folder: Path) -> "Audit":
        """Load audit.json from `folder`; FileNotFoundError if there is none."""
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        for summary in content["corpora"].values():
            summary["sample_rates"] = {int(rate): count for rate, count in summary["sample_rates"].items()}
            if "licences" in summary:  # the name of version 0.1
                summary["licenses"] = summary.pop("licences")
        content.pop("pairs", None)  # of earlier audits: each clip's most similar one only
        content["corpora"] = {name: CorpusSummary(**summary) for name, summary in content["corpora"].items()}
        return cls(**content)

    @classmethod
    def matches(cls, manifest: Manifest) -> bool:
        """Whether the audit beside a manifest exists, is undamaged and up to date, with all kinds of findings."""
        try:
            found = cls.load(manifest.root)
            str(found)  # raises if it is damaged
            current = found.manifest_hash == manifest.content_hash() and found.similar is not None
            return current and found.findings.keys() >= FINDINGS.keys()
        except (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
            return False

    def __str__(self) -> str:
        """A few lines for each corpus, one for each kind of finding, and up to five findings of each."""
        lines = []
        for name, summary in self.corpora.items():
            splits = ", ".join(
                f"{summary.clips_by_split[s]} {s} ({60 * summary.hours_by_split[s]:.1f} min)" for s in SPLITS
            )
            rates = ", ".join(f"{count} at {rate} Hz" for rate, count in summary.sample_rates.items())
            lines += [
                f"{name}{' (SYNTHETIC)' if summary.synthetic else ''}: {summary.hours:.2f} hours,"
                f" {summary.clips} clips; {splits}",
                f"  {rates}; {summary.shortest_seconds:.1f} to {summary.longest_seconds:.1f} s;"
                f" {summary.speakers} speaker(s); {summary.with_text} with text",
            ]
            if summary.rms_dbfs is not None:
                low, middle, high = summary.rms_dbfs
                lines.append(
                    f"  RMS {low:.1f} / {middle:.1f} / {high:.1f} dBFS (5%, median, 95%);"
                    f" peak {summary.peak_dbfs:.1f} dBFS"
                )
            if captions := summary.describe_captions():
                lines.append(captions)
            lines.append(f"  license: {'; '.join(summary.licenses) or 'not stated'}")
        for kind, explanation in FINDINGS.items():
            found = self.findings.get(kind, [])
            lines.append(f"{kind}: {len(found)} ({explanation})")
            lines += [f"  {subject}: {problem}" for subject, problem in found[:5]]
            lines += [f"  ... and {len(found) - 5} more in {NAME}"] if len(found) > 5 else []
        return "\n".join(lines)


def measure(samples: np.ndarray, sample_rate: int) -> ClipStatistics:
    """Statistics of float samples (T,), or (C, T), whose channels count alike; full scale +-1."""
    x = np.asarray(samples, dtype=np.float64).ravel()
    frame = min(len(x), max(1, round(FRAME_SECONDS * sample_rate)))
    frames = x[: len(x) // frame * frame].reshape(-1, frame)
    quiet = np.mean(frames**2, axis=1) < 10 ** (SILENT_DBFS / 10)
    edges = np.flatnonzero(np.diff(np.abs(x) >= CLIPPED_LEVEL, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return ClipStatistics(
        rms_dbfs=_dbfs(np.sqrt(np.mean(x**2))),
        peak_dbfs=_dbfs(np.abs(x).max()),
        dc=float(x.mean()),
        silent_fraction=float(quiet.mean()),
        clipped_samples=int(runs[runs >= CLIPPED_RUN].sum()),
    )


def audit(
    manifest: Manifest | str | Path,
    left_out: dict[str, list[tuple[str, str]]] | None = None,
    progress: Callable[..., Iterable[Clip]] | None = None,
) -> Audit:
    """Read and measure every clip of a manifest, or of the folder that holds one.

    Args:
        manifest: what to audit.
        left_out: findings of the preparation ("unreadable", "left out"), by kind.
        progress: wraps the loop over clips, such as `tqdm.tqdm`.
    """
    manifest = manifest if isinstance(manifest, Manifest) else Manifest.load(manifest)
    findings: dict[str, list] = {kind: list((left_out or {}).get(kind, [])) for kind in FINDINGS}
    statistics: dict[str, ClipStatistics] = {}
    prints: dict[Clip, np.ndarray] = {}
    for clip in progress(manifest.clips, desc="audit", unit="clip") if progress else manifest.clips:
        try:
            audio = read(manifest.path(clip), channels=clip.channels)
        except UserError as error:
            findings["unreadable"].append((clip.id, error.problem))
            continue
        statistics[clip.id] = measure(audio.samples.numpy(), audio.sample_rate)
        if clip.caption or clip.label:
            prints[clip] = fingerprint(audio.samples.numpy(), audio.sample_rate)
        for kind, problem in statistics[clip.id].findings():
            findings[kind].append((clip.id, problem))
    findings["text"] += [(clip.id, problem) for clip in manifest.clips if (problem := _misfit(clip))]
    same, alike = _duplicates(manifest.clips), _near_duplicates(prints)
    findings["duplicates"] += [(one.id, f"same as {other.id}") for one, other in same]
    findings["near-duplicates"] += _described(alike)
    findings["text"] += poorly_aligned(manifest.clips)
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        groups[clip.id.split("/")[0]].append(clip)
    corpora = {name: _summary(clips, statistics) for name, clips in sorted(groups.items())}
    similar = [(one.id, like.id) for one, like, _ in alike]
    return Audit(manifest.content_hash(), corpora, findings, similar)


def _misfit(clip: Clip) -> str:
    """Why a clip's text cannot be what is spoken in it, "" if it can."""
    sounds = [symbol.isalpha() and symbol not in "ˈˌː" for symbol in clip.phonemes]
    count = sum(sounds) if clip.phonemes else sum(map(str.isalnum, clip.text))
    spoken = sum(clip.durations[1:-1]) if clip.durations else clip.seconds
    if clip.durations:
        longest = max((d for d, sound in zip(clip.durations[1:-1], sounds, strict=True) if sound), default=0.0)
        if longest > LONGEST_PHONEME:
            return f"a phoneme of {longest:.2f} s"
    if count > FASTEST * spoken:
        return f"{count} {'phonemes' if clip.phonemes else 'letters'} in {spoken:.2f} s"
    if FEWEST_LETTERS <= count < SLOWEST * spoken:
        return f"only {count} {'phonemes' if clip.phonemes else 'letters'} in {spoken:.2f} s"
    return ""


def poorly_aligned(clips: Iterable[Clip]) -> list[tuple[str, str]]:
    """The aligned clips of each corpus whose alignment score is far below the others', with the score."""
    corpora: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.alignment_score:
            corpora[clip.id.split("/")[0]].append(clip)
    found = []
    for aligned in corpora.values():
        scores = np.array([clip.alignment_score for clip in aligned])
        median = float(np.median(scores))
        deviation = 1.4826 * float(np.median(np.abs(scores - median)))  # the standard one, of a normal distribution
        limit = median - max(MISFIT_MARGIN, MISFIT_DEVIATIONS * deviation)
        found += [
            (clip.id, f"alignment score {clip.alignment_score:.2f}, median {median:.2f}")
            for clip in aligned
            if clip.alignment_score < limit
        ]
    return found


def _duplicates(clips: Iterable[Clip]) -> list[tuple[Clip, Clip]]:
    """Clips of the same samples as an earlier one, and the first of these."""
    first: dict[str, Clip] = {}
    pairs = ((clip, first.setdefault(clip.content, clip)) for clip in clips if clip.content)
    return [(clip, like) for clip, like in pairs if clip is not like]


def _near_duplicates(prints: dict[Clip, np.ndarray]) -> list[tuple[Clip, Clip, float]]:
    """All pairs of clips that are nearly the same sound, the later one first, and the cosine of their fingerprints."""
    clips = list(prints)
    found = ((clips[place], clips[other], cosine) for place, other, cosine in near_duplicates(list(prints.values())))
    return [(one, like, cosine) for one, like, cosine in found if one.content != like.content or not one.content]


def _described(pairs: Iterable[tuple[Clip, Clip, float]]) -> list[tuple[str, str]]:
    """A finding for each clip with near-duplicates before it: the most similar, of another split if any is."""
    closest: dict[str, tuple[Clip, Clip, float]] = {}
    for one, like, cosine in pairs:
        known = closest.get(one.id)
        if known is None or (one.split != like.split, cosine) > (one.split != known[1].split, known[2]):
            closest[one.id] = one, like, cosine
    found = []
    for one, like, cosine in closest.values():
        apart = f", in {like.split} and not in {one.split}" if one.split != like.split else ""
        found.append((one.id, f"like {like.id}, cosine {cosine:.3f}{apart}"))
    return sorted(found, key=lambda entry: " and not in " not in entry[1])


def _summary(clips: list[Clip], statistics: dict[str, ClipStatistics]) -> CorpusSummary:
    seconds = {s: [clip.seconds for clip in clips if clip.split == s] for s in SPLITS}
    measured = [statistics[clip.id] for clip in clips if clip.id in statistics]
    levels = [m.rms_dbfs for m in measured]
    return CorpusSummary(
        clips=len(clips),
        hours=sum(clip.seconds for clip in clips) / 3600,
        hours_by_split={s: sum(seconds[s]) / 3600 for s in SPLITS},
        clips_by_split={s: len(seconds[s]) for s in SPLITS},
        sample_rates=dict(sorted(Counter(clip.sample_rate for clip in clips).items())),
        speakers=len({clip.speaker for clip in clips}),
        with_text=sum(bool(clip.text) for clip in clips),
        synthetic=any(clip.synthetic for clip in clips),
        licenses=sorted({clip.license for clip in clips if clip.license}),
        shortest_seconds=min(clip.seconds for clip in clips),
        longest_seconds=max(clip.seconds for clip in clips),
        rms_dbfs=tuple(float(q) for q in np.percentile(levels, [5, 50, 95])) if levels else None,
        peak_dbfs=max(m.peak_dbfs for m in measured) if measured else None,
        caption_words=word_counts(clip.caption for clip in clips),
    )


def _dbfs(amplitude: float) -> float:
    return float(20 * np.log10(max(amplitude, 1e-10)))
