"""Evaluation of every type of model: from a checkpoint and a manifest to a report."""

from collections.abc import Callable
from pathlib import Path

from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.evaluation import codec_evaluation, generation_evaluation, report, vocoder_evaluation
from audiodiff.evaluation.codec_evaluation import codec_report
from audiodiff.evaluation.generation_evaluation import MIN_CLIPS, generation_report
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.report import Report
from audiodiff.evaluation.vocoder_report import vocoder_report
from audiodiff.models import checkpoint
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.aligner import Aligner
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import Codec
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder

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
    untrained = AudioGenerator.untrained(model, device) if settings.baselines else None
    evaluation, clips = generation_evaluation.evaluate(generator, untrained, prepare(), settings)
    return generation_report(evaluation, clips, generator.sample_rate)


def _codec(model: str | Path, prepare: Callable[[], Manifest], settings: Settings, device: str) -> Report:
    for name in ("steps", "sampler", "seed"):
        if (value := getattr(settings, name)) is not None:
            raise UserError(f"--{name} {value}", "a codec does not sample", f"remove --{name}")
    stored = checkpoint.load(model)
    codec = Codec.from_checkpoint(stored, model).to(device)
    return codec_report(codec_evaluation.evaluate(codec, prepare(), settings, stored.digest), codec.sample_rate)


# By type of model; None: no evaluation.
EVALUATIONS: dict[str, ModelReport | None] = {
    VocoderModel.TYPE: _vocoder,
    AudioModel.TYPE: _generator,
    Codec.TYPE: _codec,
    AcousticModel.TYPE: None,
    Aligner.TYPE: None,
}
