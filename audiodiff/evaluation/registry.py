"""How each type of model is evaluated: from a checkpoint and a manifest to a report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.evaluation import codec_evaluation, generation_evaluation, report, vocoder_evaluation
from audiodiff.evaluation.codec_evaluation import codec_report
from audiodiff.evaluation.generation_evaluation import FEWEST, generation_report
from audiodiff.evaluation.held_out import SPLITS
from audiodiff.evaluation.report import Report
from audiodiff.evaluation.vocoder_report import vocoder_report
from audiodiff.models import checkpoint
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import Codec
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder


@dataclass(frozen=True)
class Options:
    """What users choose; None is the evaluation's or the model's own value.

    Attributes:
        steps: network evaluations per clip.
        sampler: name.
        seed: of all noise.
        limit: maximum number of clips; of a generator, the number of clips to generate.
        splits: of the manifest that are held out.
        device: where the network runs.
        baselines: whether systems without training are evaluated as well.
    """

    steps: int | None = None
    sampler: str | None = None
    seed: int | None = None
    limit: int | None = None
    splits: tuple[str, ...] = SPLITS
    device: str = "cpu"
    baselines: bool = True


def evaluate(model: str | Path, data: str | Path, folder: str | Path, options: Options) -> tuple[Report, Path]:
    """Evaluate a model on held-out recordings and write the report into `folder`; the report and its page's path.

    Raises:
        UserError: no such model, data or folder, a type of model that has no evaluation, or options that do not fit.
    """
    kind = checkpoint.type_of(checkpoint.locate(model))
    run = EVALUATIONS.get(kind)
    if run is None:
        raise UserError(model, f"is a model of type {kind!r}, which has no evaluation", "choose another model")
    result = run(model, lambda: _prepare(data, folder), options)
    return result, report.write(result, folder)


def _prepare(data: str | Path, folder: str | Path) -> Manifest:
    manifest = Manifest.load(data)
    report.make_folder(folder)
    return manifest


def _vocoder(model: str | Path, prepare: Callable[[], Manifest], options: Options) -> Report:
    vocoder = Vocoder.from_pretrained(model, options.device)
    steps = vocoder.model.calls if options.steps is None else options.steps
    if options.sampler is not None:
        presets.build(options.sampler, steps)
    untrained = Vocoder.untrained(model, options.device) if options.baselines else None
    settings = vocoder_evaluation.Settings(
        steps, options.sampler, options.seed or 0, options.splits, options.limit, options.baselines
    )
    return vocoder_report(vocoder_evaluation.evaluate(vocoder, untrained, prepare(), settings))


def _generator(model: str | Path, prepare: Callable[[], Manifest], options: Options) -> Report:
    count = generation_evaluation.Settings.count if options.limit is None else options.limit
    if count < FEWEST:
        problem = f"is below {FEWEST}, the fewest clips of a distribution"
        raise UserError(f"--limit {options.limit}", problem, f"set --limit {FEWEST} or more")
    generator = AudioGenerator.from_pretrained(model, options.device)
    steps = generator.model.calls if options.steps is None else options.steps
    untrained = AudioGenerator.untrained(model, options.device) if options.baselines else None
    settings = generation_evaluation.Settings(count, steps, options.sampler, options.seed or 0, options.splits)
    evaluation, clips = generation_evaluation.evaluate(generator, untrained, prepare(), settings)
    return generation_report(evaluation, clips, generator.sample_rate)


def _codec(model: str | Path, prepare: Callable[[], Manifest], options: Options) -> Report:
    for name in ("steps", "sampler", "seed"):
        if (value := getattr(options, name)) is not None:
            raise UserError(f"--{name} {value}", "a codec does not sample", f"remove --{name}")
    found = checkpoint.load(model)
    codec = Codec.from_checkpoint(found, model).to(options.device)
    settings = codec_evaluation.Settings(options.splits, options.limit, baselines=options.baselines)
    return codec_report(codec_evaluation.evaluate(codec, prepare(), settings, found.digest), codec.sample_rate)


# By the recorded type name of a model.
EVALUATIONS: dict[str, Callable[[str | Path, Callable[[], Manifest], Options], Report] | None] = {
    VocoderModel.TYPE: _vocoder,
    AudioModel.TYPE: _generator,
    Codec.TYPE: _codec,
}
