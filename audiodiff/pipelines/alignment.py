"""Alignment of a manifest: durations and pitch of the symbols of clips that have phonemes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from audiodiff.audio.io import read, resample
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.prosody import symbol_pitch
from audiodiff.errors import UserError
from audiodiff.models.aligner import SAMPLE_RATE, Aligner

MAX_SECONDS = 90.0  # of a clip; memory grows with the square
_BATCH_SECONDS = 60.0  # of clips aligned at once
_DIGITS = 6  # of a duration, in seconds


def add_phonemes(
    manifest: Manifest,
    phonemize: Callable[[str, str], str],
    language: str,
    report: Callable[[Clip, UserError], None],
) -> Manifest:
    """Add phonemes to the clips that have a text and none yet.

    Args:
        manifest: of the clips.
        phonemize: (text, language) -> its phonemes, such as those of a front end.
        language: of texts whose language the manifest does not state.
        report: is called with each clip whose text has no phonemes, and why.
    """

    def complete(clip: Clip) -> Clip:
        if clip.phonemes or not clip.text:
            return clip
        spoken = clip.language or language
        try:
            return replace(clip, phonemes=phonemize(clip.text, spoken), language=spoken)
        except UserError as error:
            report(clip, error)
            return clip

    return replace(manifest, clips=tuple(map(complete, manifest.clips)))


def is_pending(clip: Clip) -> bool:
    """Whether a clip is to be aligned: it has phonemes, and neither durations nor a score."""
    return bool(clip.phonemes) and not clip.durations and not clip.alignment_score


def without_alignment(manifest: Manifest) -> Manifest:
    """Remove what an aligner wrote, so that it is written anew; durations that the data states remain."""
    cleared = partial(replace, durations=(), pitch=(), alignment_score=0.0)
    return replace(manifest, clips=tuple(cleared(clip) if clip.alignment_score else clip for clip in manifest.clips))


def align_clips(
    manifest: Manifest, clips: Sequence[Clip], aligner: Aligner, report: Callable[[Clip, UserError], None]
) -> Iterator[Clip]:
    """Align clips in order of their lengths; yields each with durations, pitch and score as it is done.

    Args:
        manifest: that the clips belong to.
        clips: with phonemes.
        aligner: that knows their symbols.
        report: is called with each clip that cannot be aligned, and why; it is not yielded.
    """
    batch: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: clip.seconds):
        if batch and clip.seconds * (len(batch) + 1) > _BATCH_SECONDS:
            yield from _align_batch(manifest, batch, aligner, report)
            batch = []
        batch.append(clip)
    yield from _align_batch(manifest, batch, aligner, report)


def _align_batch(
    manifest: Manifest, clips: Iterable[Clip], aligner: Aligner, report: Callable[[Clip, UserError], None]
) -> Iterator[Clip]:
    audio, usable = [], []
    for clip in clips:
        try:
            aligner.units(clip.phonemes)
            if clip.seconds > MAX_SECONDS:
                problem = f"lasts {clip.seconds:.0f} s, alignment takes at most {MAX_SECONDS:.0f} s"
                raise UserError(clip.id, problem, "cut it into sentences")
            audio.append(read(manifest.path(clip)))
            usable.append(clip)
        except UserError as error:
            report(clip, error)
    waveforms = [resample(one.samples, one.sample_rate, SAMPLE_RATE) for one in audio]
    found = aligner.align(waveforms, [clip.phonemes for clip in usable]) if usable else []
    for clip, recording, alignment in zip(usable, audio, found, strict=True):
        total = sum(alignment.durations)
        # Resampling rounds the length: the manifest's is exact.
        durations = tuple(round(seconds * clip.seconds / total, _DIGITS) for seconds in alignment.durations)
        pitch = symbol_pitch(recording, durations) if durations else ()
        score = min(round(alignment.score, 3), -1e-3)
        yield replace(clip, durations=durations, pitch=pitch, alignment_score=score)
