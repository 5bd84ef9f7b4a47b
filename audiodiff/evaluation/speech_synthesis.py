"""Speech to score: recordings of a manifest, and their texts spoken by a voice."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from audiodiff.audio import io
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation.held_out import MIN_SECONDS, Settings, check_limit
from audiodiff.evaluation.language import language
from audiodiff.evaluation.record import Speed
from audiodiff.evaluation.speech_scoring import SpokenClip
from audiodiff.evaluation.speech_sentences import PARAGRAPH
from audiodiff.metrics.prosody import timed
from audiodiff.pipelines.speech import Speech
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer


def choose_texts(synthesizer: SpeechSynthesizer, manifest: Manifest, settings: Settings) -> tuple[list[Clip], int]:
    """The held-out clips that have a text and one of the voice's speakers, in the order of their ids; the rest counted.

    Raises:
        UserError: no clip is left, or the limit is below 1.
    """
    check_limit(settings.limit)
    held_out, known = manifest.with_splits(*settings.splits).clips, set(synthesizer.model.speakers)
    clips = [
        clip
        for clip in held_out
        if clip.text and clip.seconds >= MIN_SECONDS and (clip.speaker in known or len(known) <= 1)
    ]
    if not clips:
        splits, names = " or ".join(settings.splits), ", ".join(sorted(known)) or "any speaker"
        problem = f"has no clip with a text by {names} in {splits}"
        raise UserError(manifest.root, problem, "choose the corpus that the voice was trained on")
    chosen = sorted(clips, key=lambda clip: clip_seed(0, clip.id))[: settings.limit]
    return sorted(chosen, key=lambda clip: clip.id), len(held_out) - len(clips)


def recorded(manifest: Manifest, clip: Clip, sample_rate: int) -> SpokenClip:
    """A recording, with the times of its phonemes if the manifest has them."""
    samples = io.read(manifest.path(clip), sample_rate).samples.reshape(-1).clamp(-1, 1).numpy()
    symbols = tuple(timed(clip.phonemes, clip.durations)) if clip.durations else ()
    return SpokenClip(samples, sample_rate, clip.text, language(clip), symbols)


def speak(
    synthesizer: SpeechSynthesizer, clips: Sequence[Clip], settings: Settings, quiet: bool = False, **options
) -> tuple[list[SpokenClip], Speed]:
    """Speak the text of each clip as its speaker, and measure the speed; `options` are those of `say`."""
    say_clip(synthesizer, clips[0], settings, **options)  # warm-up: memory, FFT plans, kernels
    spoken, work = [], []
    for clip in tqdm(clips, desc="synthesizing", unit="clip", disable=quiet):
        start = time.perf_counter()
        speech = say_clip(synthesizer, clip, settings, **options)
        work.append(time.perf_counter() - start)
        spoken.append(spoken_clip(speech, language(clip, synthesizer.model.language)))
    audio = np.array([max(len(one.samples), 1) / one.sample_rate for one in spoken])
    return spoken, Speed.of(np.array(work), audio, str(synthesizer.device))


def say_clip(synthesizer: SpeechSynthesizer, clip: Clip, settings: Settings, **options) -> Speech:
    """Speak the text of a clip as its speaker; the seed depends on the settings' and the clip's id."""
    speakers = synthesizer.model.speakers
    speaker = clip.speaker if clip.speaker in speakers else None
    seed = clip_seed(settings.seed or 0, clip.id)
    return synthesizer.say(clip.text, **{"speaker": speaker, "seed": seed} | sampling(settings) | options)


def sampling(settings: Settings) -> dict[str, Any]:
    """The options of `say` that settings state."""
    return {"steps": settings.steps, "sampler": settings.sampler}


def spoken_clip(speech: Speech, spoken_language: str) -> SpokenClip:
    """What a synthesizer said, to be scored."""
    samples = speech.audio.samples.reshape(-1).clamp(-1, 1).cpu().numpy()
    return SpokenClip(samples, speech.audio.sample_rate, speech.text, spoken_language, speech.phonemes)


def latency(synthesizer: SpeechSynthesizer, settings: Settings) -> float:
    """Seconds until the first audio of a long text, models loaded."""
    start = time.perf_counter()
    next(iter(synthesizer.stream(PARAGRAPH, seed=settings.seed or 0, **sampling(settings))))
    return time.perf_counter() - start


def resynthesize(synthesizer: SpeechSynthesizer, one: SpokenClip) -> SpokenClip:
    """A recording from its mel spectrogram, by the voice's vocoder."""
    audio = synthesizer.vocoder.resynthesize(io.Audio(torch.from_numpy(one.samples), one.sample_rate), seed=0)
    return replace(one, samples=audio.samples.clamp(-1, 1).numpy())
