"""`audiodiff evaluate`: a report on held-out recordings, clip by clip, or for a generator over all its clips."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Data, Device, Model, Splits
from audiodiff.errors import UserError
from audiodiff.extras import require


def evaluate(
    model: Model,
    data: Data,
    report: Annotated[Path, typer.Option(help="Folder for the report, as a page and as JSON.")],
    steps: Annotated[int | None, typer.Option(help="Denoising steps (default: the model's own).")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler (default: the model's own).")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (default: 0).")] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of clips; for generators, how many to generate (default: all; 256)."),
    ] = None,
    split: Splits = None,
    device: Device = "cpu",
    baselines: Annotated[bool, typer.Option(help="Also evaluate baselines that need no training.")] = True,
) -> None:
    """Evaluate a model on held-out recordings and write a report. Prints the report's path last."""
    require("metrics")
    require("report")
    from audiodiff.models import checkpoint
    from audiodiff.models.audio_model import AudioModel
    from audiodiff.models.codec import Codec
    from audiodiff.models.vocoder_model import VocoderModel

    evaluators = {VocoderModel.TYPE: _vocoder, AudioModel.TYPE: _generator, Codec.TYPE: _codec}
    splits = tuple(split) if split else ("validation", "test")
    sampling = {"steps": steps, "sampler": sampler, "seed": seed}
    kind = checkpoint.type_of(checkpoint.locate(model))
    print(evaluators.get(kind, _vocoder)(model, data, report, sampling, limit, splits, device, baselines))


def _codec(model, data, report, sampling, limit, splits, device, baselines) -> Path:
    from audiodiff.data.manifest import Manifest
    from audiodiff.evaluation import codec_evaluation
    from audiodiff.evaluation.report import claim
    from audiodiff.models import checkpoint
    from audiodiff.models.codec import Codec

    for option, value in sampling.items():
        if value is not None:
            raise UserError(f"--{option} {value}", "a codec does not sample", f"remove --{option}")
    found = checkpoint.load(model)
    codec, manifest = Codec.from_checkpoint(found, model).to(device), Manifest.load(data)
    claim(report)
    settings = codec_evaluation.Settings(splits, limit, baselines=baselines)
    evaluation = codec_evaluation.evaluate(codec, manifest, settings, found.digest)
    path = codec_evaluation.write_report(evaluation, codec.sample_rate, report)
    print(path.read_text(encoding="utf-8"))
    return path


def _generator(model, data, report, sampling, limit, splits, device, baselines) -> Path:
    from audiodiff.data.manifest import Manifest
    from audiodiff.evaluation import generation_evaluation as evaluation
    from audiodiff.evaluation.report import claim
    from audiodiff.pipelines.audio_generator import AudioGenerator

    count = evaluation.Settings.count if limit is None else limit
    if count < evaluation.FEWEST:
        problem = f"is below {evaluation.FEWEST}, the fewest clips of a distribution"
        raise UserError(f"--limit {limit}", problem, f"give --limit {evaluation.FEWEST} or more")
    generator = AudioGenerator.from_pretrained(model, device)
    steps = generator.model.calls if sampling["steps"] is None else sampling["steps"]
    untrained = AudioGenerator.untrained(model, device) if baselines else None
    manifest = Manifest.load(data)
    claim(report)
    settings = evaluation.Settings(count, steps, sampling["sampler"], sampling["seed"] or 0, splits)
    found, clips = evaluation.evaluate(generator, untrained, manifest, settings)
    path = evaluation.write_report(found, clips, generator.sample_rate, report)
    print(path.read_text(encoding="utf-8"))
    return path


def _vocoder(model, data, report, sampling, limit, splits, device, baselines) -> Path:
    from audiodiff.data.manifest import Manifest
    from audiodiff.diffusion.samplers import presets
    from audiodiff.evaluation.evaluate import Settings, evaluate
    from audiodiff.evaluation.report import claim, write
    from audiodiff.pipelines.vocoder import Vocoder

    vocoder = Vocoder.from_pretrained(model, device)
    steps = vocoder.model.calls if sampling["steps"] is None else sampling["steps"]
    if sampling["sampler"] is not None:
        presets.build(sampling["sampler"], steps)
    untrained = Vocoder.untrained(model, device) if baselines else None
    manifest = Manifest.load(data)
    claim(report)
    settings = Settings(steps, sampling["sampler"], sampling["seed"] or 0, splits, limit, baselines)
    return write(evaluate(vocoder, untrained, manifest, settings), report)
