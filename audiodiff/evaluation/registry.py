"""Evaluation of every type of model: from a checkpoint and a manifest to a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.evaluation import (
    benchmark,
    codec_evaluation,
    generation_evaluation,
    report,
    speech_benchmark,
    speech_evaluation,
    upsampling_evaluation,
    vocoder_evaluation,
)
from audiodiff.evaluation.bias import Evaluated, bias_report
from audiodiff.evaluation.codec_evaluation import codec_report
from audiodiff.evaluation.generation_evaluation import MIN_CLIPS
from audiodiff.evaluation.generation_report import generation_report
from audiodiff.evaluation.held_out import HeldOut, Settings, choose
from audiodiff.evaluation.prompt_evaluation import PromptEvaluation
from audiodiff.evaluation.record import Record
from audiodiff.evaluation.report import Report
from audiodiff.evaluation.speech_report import speech_report
from audiodiff.evaluation.speech_synthesis import choose_texts, sampling
from audiodiff.evaluation.teachers import find_teacher
from audiodiff.evaluation.uncertainty import takes_of, uncertainty_report
from audiodiff.evaluation.upsampling_evaluation import upsampling_report
from audiodiff.evaluation.vocoder_evaluation import describe_model as describe_vocoder
from audiodiff.evaluation.vocoder_report import vocoder_report
from audiodiff.extras import require
from audiodiff.models import checkpoint
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.aligner import Aligner
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.codec import Codec
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.models.model_folders import installation
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.options import options_of
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.pipelines.vocoder import Vocoder

EMBEDDING = "audio-text"  # the shipped audio-text model
ModelReport = Callable[[str | Path, Callable[[], Manifest], Settings, str], Report]


def evaluate(
    model: str | Path, data: str | Path, folder: str | Path, settings: Settings, device: str = "cpu"
) -> tuple[Report, Path]:
    """Evaluate a model on held-out recordings and write the report; return it and the path of its page.

    Raises:
        UserError: no such model, data or folder, a type of model without an evaluation, or settings that do not apply.
    """
    kind = checkpoint.type_of(checkpoint.locate(model))
    run = EVALUATIONS.get(kind)
    if run is None:
        raise UserError(model, f"is a model of type {kind!r}, which has no evaluation", "choose another model")
    if kind not in _CORE_METRICS:
        require("metrics")

    def prepare() -> Manifest:
        manifest = Manifest.load(data)
        report.make_folder(folder)
        return manifest

    result = run(model, prepare, settings, device)
    return result, report.write(result, folder)


def _vocoder(model: str | Path, prepare: Callable[[], Manifest], settings: Settings, device: str) -> Report:
    vocoder = Vocoder.from_pretrained(model, device)
    if settings.sampler is not None:
        presets.build(settings.sampler, vocoder.model.default_steps if settings.steps is None else settings.steps)
    untrained = Vocoder.untrained(model, device) if settings.baselines else None
    return vocoder_report(vocoder_evaluation.evaluate(vocoder, untrained, prepare(), settings))


def _generator(model: str | Path, prepare: Callable[[], Manifest], settings: Settings, device: str) -> Report:
    if settings.limit is not None and settings.limit < MIN_CLIPS:
        problem = f"must be {MIN_CLIPS} or more, to compare distributions"
        raise UserError(f"--limit {settings.limit}", problem, f"set --limit {MIN_CLIPS} or more")
    generator = AudioGenerator.from_pretrained(model, device)
    embedder = _prompt_embedder(generator, settings, device)
    untrained = AudioGenerator.untrained(model, device) if settings.baselines else None
    manifest = prepare()
    prompted = None if embedder is None else PromptEvaluation(generator, embedder, manifest, settings)
    evaluation, clips = generation_evaluation.evaluate(generator, untrained, manifest, settings, prompted)
    return generation_report(evaluation, clips, generator.sample_rate, prompted)


def _prompt_embedder(generator: AudioGenerator, settings: Settings, device: str) -> AudioTextEmbedder | None:
    """The embedding that scores prompts; None of a model that takes none.

    Raises:
        UserError: options of prompts for a model that takes none, or out of range; no embedding is given or shipped.
    """
    if not generator.model.takes_prompts:
        for option in ("embedding", "guidance_scales"):
            if getattr(settings, option):
                flag = f"--{option.replace('_', '-')}"
                raise UserError(flag, "this model takes no prompts", f"remove {flag}")
        return None
    for scale in settings.guidance_scales:  # of which each has its turn much later
        options_of(GenerationConfig)["guidance_scale"].check("--guidance-scales", scale)
    if not settings.embedding and EMBEDDING not in checkpoint.shipped():
        fix = f"{installation(EMBEDDING)}, or add --embedding MODEL, which `python train.py +recipe=audio_text` trains"
        raise UserError("evaluate", "an audio-text model is needed, to score prompts", fix)
    return AudioTextEmbedder.from_pretrained(settings.embedding or EMBEDDING, device)


def _voice(model: str | Path, prepare: Callable[[], Manifest], settings: Settings, device: str) -> Report:
    synthesizer = SpeechSynthesizer.from_pretrained(model, device)
    teacher = find_teacher(synthesizer.model.speakers)
    return speech_report(speech_evaluation.evaluate(synthesizer, prepare(), settings, teacher))


def _codec(model: str | Path, prepare: Callable[[], Manifest], settings: Settings, device: str) -> Report:
    for name in ("steps", "sampler", "seed"):
        if (value := getattr(settings, name)) is not None:
            raise UserError(f"--{name} {value}", "a codec does not sample", f"remove --{name}")
    stored = checkpoint.load(model)
    codec = Codec.from_checkpoint(stored, model).to(device)
    return codec_report(codec_evaluation.evaluate(codec, prepare(), settings, stored.digest), codec.sample_rate)


def _upsampler(model: str | Path, prepare: Callable[[], Manifest], settings: Settings, device: str) -> Report:
    upsampler = Upsampler.from_pretrained(model, device)
    steps = upsampler.model.default_steps if settings.steps is None else settings.steps
    presets.build(settings.sampler or upsampler.model.sampler, steps)
    name = f"network, {steps} step{'s' * (steps > 1)}"
    evaluation = upsampling_evaluation.evaluate({name: (upsampler, steps)}, prepare(), settings)
    return upsampling_report(evaluation, upsampler.sample_rate)


# By type of model; None: no evaluation.
EVALUATIONS: dict[str, ModelReport | None] = {
    VocoderModel.TYPE: _vocoder,
    AudioModel.TYPE: _generator,
    Codec.TYPE: _codec,
    AcousticModel.TYPE: _voice,
    Aligner.TYPE: None,
    AudioTextModel.TYPE: None,
    NoisyClassifier.TYPE: None,
    Hypernetwork.TYPE: None,
    UpsamplerModel.TYPE: _upsampler,
    RestorationModel.TYPE: None,
}
_CORE_METRICS = (AudioModel.TYPE,)  # types whose metrics need no extra


def examine_bias(
    model: str | Path,
    data: Sequence[str | Path],
    folder: str | Path,
    settings: Settings,
    speakers: Mapping[str, Mapping[str, str]],
    device: str = "cpu",
) -> tuple[Report, Path]:
    """Evaluate a model by groups of clips and write the report; return it and the path of its page.

    Arguments are those of `evaluate`, with several manifests, and the attributes of speakers.

    Raises:
        UserError: as `evaluate`; no clip is of any of these speakers.
    """
    kind = checkpoint.type_of(checkpoint.locate(model))
    run = GROUPED.get(kind)
    if run is None:
        fix = f"choose a model of type {' or '.join(name for name, one in GROUPED.items() if one)}"
        raise UserError(model, f"is a model of type {kind!r}, which is not evaluated by groups", fix)
    manifest = Manifest.join([Manifest.load(one) for one in data])
    names = sorted({clip.speaker for clip in manifest.clips if clip.speaker})
    if speakers and not speakers.keys() & names:
        fix = f"use the names of the manifest, such as {names[0]}" if names else "leave --speakers out"
        raise UserError(f"speaker {min(speakers)!r:.60}", f"has no clip in {manifest.root}, nor has any other", fix)
    report.make_folder(folder)
    result = bias_report(*run(model, manifest, settings, device), speakers)
    return result, report.write(result, folder)


def _grouped_vocoder(model: str | Path, manifest: Manifest, settings: Settings, device: str) -> tuple[Evaluated, str]:
    evaluation = vocoder_evaluation.evaluate(Vocoder.from_pretrained(model, device), None, manifest, settings)
    return evaluation, "network_consistency"


def _grouped_voice(model: str | Path, manifest: Manifest, settings: Settings, device: str) -> tuple[Evaluated, str]:
    evaluation = speech_evaluation.evaluate(SpeechSynthesizer.from_pretrained(model, device), manifest, settings)
    return evaluation, speech_evaluation.VOICE


# By type of model, its evaluation clip by clip and the system that is examined; None: there is none.
GROUPED: dict[str, Callable[[str | Path, Manifest, Settings, str], tuple[Evaluated, str]] | None] = {
    VocoderModel.TYPE: _grouped_vocoder,
    AudioModel.TYPE: None,
    Codec.TYPE: None,
    AcousticModel.TYPE: _grouped_voice,
    Aligner.TYPE: None,
    AudioTextModel.TYPE: None,
    NoisyClassifier.TYPE: None,
    Hypernetwork.TYPE: None,
    UpsamplerModel.TYPE: None,
    RestorationModel.TYPE: None,
}


def examine_uncertainty(
    model: str | Path, data: str | Path, folder: str | Path, settings: Settings, seeds: int, device: str = "cpu"
) -> tuple[Report, Path]:
    """Report how much a model's output varies with the seed; return the report and the path of its page.

    Args:
        model, data, folder, settings, device: as of `evaluate`.
        seeds: of each clip, 2 or more.

    Raises:
        UserError: as `evaluate`, or fewer seeds.
    """
    if seeds < 2:
        raise UserError(f"seeds {seeds}", "have no spread", "give 2 or more")
    kind = checkpoint.type_of(checkpoint.locate(model))
    run = SPREADS.get(kind)
    if run is None:
        fix = f"choose a model of type {' or '.join(name for name, one in SPREADS.items() if one)}"
        raise UserError(model, f"is a model of type {kind!r}, whose spread is not measured", fix)
    manifest = Manifest.load(data)
    report.make_folder(folder)
    result = run(model, manifest, settings, seeds, device)
    return result, report.write(result, folder)


def _spread_of_vocoder(model: str | Path, manifest: Manifest, settings: Settings, seeds: int, device: str) -> Report:
    vocoder = Vocoder.from_pretrained(model, device)
    clips, _ = choose(manifest, settings.splits, settings.limit)
    held_out = HeldOut.load(vocoder, manifest, clips, settings.seed or 0)
    found = []
    for clip, (recording, mel, seed) in zip(tqdm(clips, unit="clip", disable=None), held_out.inputs, strict=True):
        takes = takes_of(
            lambda number, mel=mel, seed=seed: vocoder.generate(
                mel, settings.steps, clip_seeds=[seed + number], sampler=settings.sampler
            ),
            seeds,
            len(recording),
        )
        found.append((clip, takes, recording.numpy()))
    return uncertainty_report("Resynthesis from the mel", found, vocoder.spec, describe_vocoder(vocoder))


def _spread_of_voice(model: str | Path, manifest: Manifest, settings: Settings, seeds: int, device: str) -> Report:
    voice = SpeechSynthesizer.from_pretrained(model, device)
    clips, _ = choose_texts(voice, manifest, settings)
    found = []
    for clip in tqdm(clips, unit="clip", disable=None):
        speaker = clip.speaker if clip.speaker in voice.speakers else None
        takes = takes_of(
            lambda number, clip=clip, speaker=speaker: (
                voice.say(clip.text, speaker=speaker, seed=(settings.seed or 0) + number, **sampling(settings)).audio
            ),
            seeds,
        )
        found.append((clip, takes, None))
    spec = voice.vocoder.spec
    return uncertainty_report("Texts", found, spec, speech_evaluation.describe_model(voice, settings))


# By type of model; None: the spread over seeds is not measured.
SPREADS: dict[str, Callable[[str | Path, Manifest, Settings, int, str], Report] | None] = {
    VocoderModel.TYPE: _spread_of_vocoder,
    AudioModel.TYPE: None,
    Codec.TYPE: None,
    AcousticModel.TYPE: _spread_of_voice,
    Aligner.TYPE: None,
    AudioTextModel.TYPE: None,
    NoisyClassifier.TYPE: None,
    Hypernetwork.TYPE: None,
    UpsamplerModel.TYPE: None,
    RestorationModel.TYPE: None,
}


@dataclass(frozen=True)
class Sweep:
    """What a benchmark varies, and over which clips; empty: the defaults of the model's type.

    Attributes:
        steps: numbers of denoising steps.
        samplers, metrics: names, of a vocoder.
        iterations: numbers of mel-consistency iterations, of a vocoder.
        tuned: of a vocoder, by name of the data: it after fine-tuning on the voice of the data.
        guidance_scales, temperatures: of a voice.
        seed, splits, limit: as of `held_out.Settings`.
        language: ISO 639-1 code of clips whose corpus does not state it, for a vocoder's word errors.
    """

    steps: tuple[int, ...] = ()
    samplers: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    iterations: tuple[int, ...] = ()
    tuned: Mapping[str, Path] = field(default_factory=dict)
    guidance_scales: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = ()
    seed: int = 0
    splits: tuple[str, ...] = Settings.splits
    limit: int | None = None
    language: str = ""

    def refuse(self, kind: str, **options: str) -> None:
        """Raise `UserError` if one of these options is set, which a type of model does not have."""
        for name, option in options.items():
            if getattr(self, name):
                raise UserError(option, f"does not apply to {kind}", f"remove {option}")


def run_benchmark(model: str | Path, data: dict[str, Manifest], sweep: Sweep, path: Path) -> Record:
    """Benchmark a model and keep the record at `path`; results that it has are not computed again.

    Raises:
        UserError: no such model, a type of model without a benchmark, or settings that do not apply.
    """
    kind = checkpoint.type_of(checkpoint.locate(model))
    run = BENCHMARKS.get(kind)
    if run is None:
        raise UserError(model, f"is a model of type {kind!r}, which has no benchmark", "use `audiodiff evaluate`")
    return run(model, data, sweep, path)


def _benchmark_vocoder(model: str | Path, data: dict[str, Manifest], sweep: Sweep, path: Path) -> Record:
    sweep.refuse("a vocoder", guidance_scales="--guidance-scales", temperatures="--temperatures")
    settings = benchmark.Settings(
        sweep.samplers,
        sweep.steps or benchmark.STEPS,
        sweep.iterations,
        sweep.metrics or benchmark.Settings.metrics,
        sweep.seed,
        sweep.splits,
        sweep.limit,
        sweep.language,
    )
    vocoder = Vocoder.from_pretrained(model)
    on_gpu = Vocoder.from_pretrained(model, "cuda") if torch.cuda.is_available() else None
    tuned = {name: Vocoder.from_pretrained(folder) for name, folder in sweep.tuned.items()}
    return benchmark.sweep(vocoder, on_gpu, data, settings, path, tuned=tuned)


def _benchmark_voice(model: str | Path, data: dict[str, Manifest], sweep: Sweep, path: Path) -> Record:
    names = ("samplers", "metrics", "language", "iterations", "tuned")
    sweep.refuse("text to speech", **{name: f"--{name}" for name in names})
    steps = sweep.steps or speech_benchmark.STEPS
    varied = (steps, sweep.guidance_scales, sweep.temperatures)
    settings = speech_benchmark.Settings(*varied, sweep.seed, sweep.splits, sweep.limit)
    return speech_benchmark.sweep(SpeechSynthesizer.from_pretrained(model), data, settings, path)


# By type of model; None: no benchmark.
BENCHMARKS: dict[str, Callable[[str | Path, dict[str, Manifest], Sweep, Path], Record] | None] = {
    VocoderModel.TYPE: _benchmark_vocoder,
    AudioModel.TYPE: None,
    Codec.TYPE: None,
    AcousticModel.TYPE: _benchmark_voice,
    Aligner.TYPE: None,
    AudioTextModel.TYPE: None,
    NoisyClassifier.TYPE: None,
    Hypernetwork.TYPE: None,
    UpsamplerModel.TYPE: None,
    RestorationModel.TYPE: None,
}
