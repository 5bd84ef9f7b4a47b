"""Evaluation of an acoustic model: texts of held-out recordings are spoken, and compared with the recordings.

Nothing is aligned sample by sample, so both are scored by themselves (`speech_scoring`), and the scores are compared
clip by clip. Three systems are scored: the recordings, the recordings resynthesized by the voice's vocoder (what the
vocoder costs), and the voice. Clips of the voice are also compared with every speaker's mean embedding.

Further parts are hard sentences (`speech_sentences`), listed one by one, and the controls of rate and pitch
(`speech_controls`). Speed is seconds of audio per second of work, one text at a time, before anything is scored.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import Settings, clip_list_hash
from audiodiff.evaluation.record import Block, Row
from audiodiff.evaluation.scoring import MetricPool
from audiodiff.evaluation.speech_controls import ControlCheck, check_controls
from audiodiff.evaluation.speech_metrics import values, weights
from audiodiff.evaluation.speech_scoring import SpeechScores, SpokenClip, centroid, is_english, score_speech
from audiodiff.evaluation.speech_sentences import HARD_SENTENCES
from audiodiff.evaluation.speech_synthesis import (
    choose_texts,
    latency,
    recorded,
    resynthesize,
    sampling,
    speak,
    spoken_clip,
)
from audiodiff.evaluation.teachers import Teacher
from audiodiff.metrics import require_all
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer

RECORDINGS, VOCODED, VOICE = "ground_truth", "vocoded", "voice"
NETWORKS = ("dnsmos", "f0_rmse", "speaker", "wer")  # metrics whose packages are needed
LABELS = {
    RECORDINGS: ("Recordings", "The recordings, at the voice's sample rate."),
    VOCODED: (
        "Recordings, resynthesized",
        "Their mel spectrograms through the voice's vocoder: what the vocoder costs.",
    ),
    VOICE: ("Voice", "The text, spoken by the voice as the recording's speaker."),
}


@dataclass(frozen=True)
class HardSentence:
    """A hard sentence: its kind, the scores of the voice, and the teacher's scores for the same text, if there is one.

    `usual_ms` is the speaker's mean phoneme duration over the held-out recordings, for texts without a teacher.
    """

    kind: str
    text: str
    scores: SpeechScores
    teacher: SpeechScores | None
    usual_ms: float

    @property
    def duration_ratio(self) -> float:
        """Mean phoneme duration relative to the teacher's for this text, else to the speaker's recordings."""
        reference = self.teacher.phoneme_ms if self.teacher else np.nan
        return self.scores.phoneme_ms / (reference if np.isfinite(reference) else self.usual_ms)


@dataclass(frozen=True)
class Evaluation:
    """Results.

    Attributes:
        settings: how the results were computed.
        clips: scored, in the order of their ids.
        skipped: number of held-out clips without a text, of other speakers, or too short.
        block: scores by system.
        scores: by system and clip.
        speakers: names, in the order of the rows and columns of `matrix`.
        matrix: mean similarity of a speaker's synthesized clips (rows) to each speaker's recordings (columns).
        hard: the hard sentences; empty for other languages than English, and without baselines.
        controls: measured effect of rate and pitch; empty without baselines.
        first_audio: seconds until the first audio of a text of 400 words.
        waveforms: (T,) by system and clip.
    """

    settings: Settings
    clips: list[Clip]
    skipped: int
    block: Block
    scores: dict[str, list[SpeechScores]]
    speakers: list[str]
    matrix: np.ndarray
    hard: list[HardSentence]
    controls: list[ControlCheck]
    first_audio: float
    waveforms: dict[str, list[np.ndarray]]
    sample_rate: int
    manifest_hash: str
    environment: dict
    model: dict
    seconds: dict[str, float]


def evaluate(
    synthesizer: SpeechSynthesizer,
    manifest: Manifest,
    settings: Settings,
    teacher: Teacher | None = None,
    workers: int | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Synthesize and score.

    Args:
        synthesizer: the voice to evaluate.
        manifest: corpus with the held-out clips.
        settings: settings of the evaluation; without `baselines` only recordings and voice are scored.
        teacher: of one of the voice's speakers, who then speaks the hard sentences; None: there is none.
        workers: processes that score; None: one per core; 0: this one.
        quiet: no progress bars.

    Raises:
        UserError: a metric's package is missing, no clips with texts of the voice's speakers, a clip that cannot be
            read.
    """
    require_all(NETWORKS)
    steps = synthesizer.model.default_steps if settings.steps is None else settings.steps
    settings = replace(settings, steps=steps, seed=settings.seed or 0)
    clips, skipped = choose_texts(synthesizer, manifest, settings)
    start = time.perf_counter()
    spoken = {RECORDINGS: [recorded(manifest, clip, synthesizer.sample_rate) for clip in clips]}
    if settings.baselines:
        spoken[VOCODED] = [resynthesize(synthesizer, one) for one in spoken[RECORDINGS]]
    spoken[VOICE], speed = speak(synthesizer, clips, settings, quiet=quiet)
    hard = _hard_sentences(synthesizer, settings, teacher) if settings.baselines else []
    first_audio = latency(synthesizer, settings)
    scoring = time.perf_counter()
    with MetricPool(workers) as pool:
        scores = {name: list(_score(pool, some, name, quiet)) for name, some in spoken.items()}
        found = list(_score(pool, [one for *_, both in hard for one in both if one], "hard sentences", quiet))
        controls = check_controls(synthesizer, clips, settings, pool) if settings.baselines else []
    block = build_block(manifest, clips, scores, settings)
    block.rows[VOICE].speed = {synthesizer.device.type: speed}
    speakers, matrix = similarity_matrix(clips, scores)
    return Evaluation(
        settings=settings,
        clips=clips,
        skipped=skipped,
        block=block,
        scores=scores,
        speakers=speakers,
        matrix=matrix,
        hard=_pair_hard(hard, found, block.rows[RECORDINGS]),
        controls=controls,
        first_audio=first_audio,
        waveforms={name: [one.samples for one in some] for name, some in spoken.items()},
        sample_rate=synthesizer.sample_rate,
        manifest_hash=manifest.content_hash(),
        environment=environment.describe(synthesizer.device),
        model=describe_model(synthesizer, settings),
        seconds={"synthesis": scoring - start, "scoring": time.perf_counter() - scoring},
    )


def build_block(
    manifest: Manifest, clips: list[Clip], scores: dict[str, list[SpeechScores]], settings: Settings
) -> Block:
    """A block with a row for each system, compared with the speakers of the recordings."""
    block = Block(
        name=manifest.root.resolve().name,
        seed=settings.seed or 0,
        clips=[clip.id for clip in clips],
        clip_list_sha256=clip_list_hash(clips),
        seconds=sum(clip.seconds for clip in clips),
        splits=list(settings.splits),
        weights=weights(scores[RECORDINGS]),
    )
    targets = speaker_targets(clips, scores[RECORDINGS])
    for name, some in scores.items():
        label, note = LABELS.get(name, (name, ""))
        block.rows[name] = Row(label, note, scores=values(some, targets))
    return block


def speaker_targets(clips: Sequence[Clip], recordings: Sequence[SpeechScores]) -> list[np.ndarray]:
    """For each clip, the mean embedding of its speaker's other recordings; of this one if there is no other."""
    targets = []
    for index, clip in enumerate(clips):
        same = [i for i, other in enumerate(clips) if other.speaker == clip.speaker and i != index] or [index]
        targets.append(centroid([recordings[i].embedding for i in same]))
    return targets


def similarity_matrix(clips: Sequence[Clip], scores: dict[str, list[SpeechScores]]) -> tuple[list[str], np.ndarray]:
    """Names of the speakers; mean similarity of the voice as each (rows) to the recordings of each (columns)."""
    speakers = sorted({clip.speaker for clip in clips})
    own = [[i for i, clip in enumerate(clips) if clip.speaker == name] for name in speakers]
    centers = np.array([centroid([scores[RECORDINGS][i].embedding for i in some]) for some in own])
    spoken = np.array([one.embedding for one in scores[VOICE]])
    return speakers, np.array([(spoken[some] @ centers.T).mean(axis=0) for some in own])


def describe_model(synthesizer: SpeechSynthesizer, settings: Settings) -> dict:
    """Describe a voice for reports."""
    model = synthesizer.model
    return {
        "type": model.TYPE,
        "hash": synthesizer.model_hash,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocoder_hash": synthesizer.vocoder.model_hash,
        "vocoder_parameters": sum(parameter.numel() for parameter in synthesizer.vocoder.model.parameters()),
        "speakers": list(model.speakers),
        "language": model.language,
        "sampler": settings.sampler or model.sampler,
        "steps": settings.steps,
        "mel_spec": model.mel_spec.to_dict(),
        "training": synthesizer.training,
    }


def _hard_sentences(
    synthesizer: SpeechSynthesizer, settings: Settings, teacher: Teacher | None
) -> list[tuple[str, str, tuple[SpokenClip, SpokenClip | None]]]:
    """(kind, text, (spoken, spoken by the teacher)) of every hard sentence."""
    if not is_english(synthesizer.model.language):
        return []
    found, speaker = [], teacher.speaker if teacher else None
    for kind, texts in HARD_SENTENCES.items():
        for text in texts:
            speech = synthesizer.say(text, speaker=speaker, seed=settings.seed or 0, **sampling(settings))
            spoken = spoken_clip(speech, synthesizer.model.language)
            found.append((kind, text, (spoken, teacher.speak(text) if teacher else None)))
    return found


def _pair_hard(
    hard: Sequence[tuple[str, str, tuple[SpokenClip, SpokenClip | None]]], scores: list[SpeechScores], recordings: Row
) -> list[HardSentence]:
    remaining, usual = iter(scores), recordings.scores["phoneme_ms"]
    mean = float(np.nanmean(usual)) if np.isfinite(usual).any() else np.nan
    return [
        HardSentence(kind, text, next(remaining), next(remaining) if by_teacher else None, mean)
        for kind, text, (_, by_teacher) in hard
    ]


def _score(pool: MetricPool, clips: Sequence[SpokenClip], name: str, quiet: bool):
    return tqdm(pool.map(score_speech, clips), total=len(clips), desc=f"scoring {name}", unit="clip", disable=quiet)
