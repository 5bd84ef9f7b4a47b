"""`audiodiff evaluate`: judge a model on held-out recordings: clip by clip, or a model of music as a whole."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.errors import UserError
from audiodiff.extras import require


def evaluate(
    model: Annotated[Path, typer.Option(help="Folder of the model, or the name of a shipped one.")],
    data: Annotated[Path, typer.Option(help="Manifest, or the folder that holds manifest.jsonl.")],
    report: Annotated[Path, typer.Option(help="Folder for the report, for people and as JSON.")],
    steps: Annotated[int | None, typer.Option(help="Network calls a clip; the model's own if left out.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Name of the sampler; the model's own if left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; 0 if left out.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of clips; for a model of music, how many to generate (256).")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="Split to judge, repeatable; validation and test.")] = None,
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")] = "cpu",
    baselines: Annotated[bool, typer.Option(help="Judge systems that need no training beside the network.")] = True,
) -> None:
    """Judge a model on held-out recordings; the report's path is the last line printed."""
    require("metrics")
    require("report")
    from audiodiff.models import checkpoint
    from audiodiff.models.audio_model import AudioModel
    from audiodiff.models.codec import Codec

    splits = tuple(split) if split else ("validation", "test")
    kind = checkpoint.type_of(checkpoint.locate(model))
    if kind == Codec.TYPE:
        for option, value in (("steps", steps), ("sampler", sampler), ("seed", seed)):
            if value is not None:
                raise UserError(f"--{option} {value}", "a codec samples nothing", f"leave --{option} out")
        print(_codec(model, data, report, limit, splits, device, baselines))
        return
    judge = _music if kind == AudioModel.TYPE else _vocoder
    print(judge(model, data, report, steps, sampler, seed or 0, limit, splits, device, baselines))


def _codec(model, data, report, limit, splits, device, baselines) -> Path:
    from audiodiff.data.manifest import Manifest
    from audiodiff.evaluation import codec_evaluation
    from audiodiff.evaluation.report import claim
    from audiodiff.models import checkpoint
    from audiodiff.models.codec import Codec

    found = checkpoint.load(model)
    codec, manifest = Codec.from_checkpoint(found, model).to(device), Manifest.load(data)
    claim(report)
    judged = codec_evaluation.evaluate(
        codec, manifest, codec_evaluation.Settings(splits, limit, baselines=baselines), found.digest
    )
    path = codec_evaluation.write_report(judged, codec.sample_rate, report)
    print(path.read_text(encoding="utf-8"))
    return path


def _music(model, data, report, steps, sampler, seed, limit, splits, device, baselines) -> Path:
    from audiodiff.data.manifest import Manifest
    from audiodiff.evaluation import generation_evaluation
    from audiodiff.evaluation.report import claim
    from audiodiff.pipelines.audio_generator import AudioGenerator

    count = generation_evaluation.Settings.count if limit is None else limit
    if count < generation_evaluation.FEWEST:
        problem = f"is below {generation_evaluation.FEWEST}, the fewest clips of a distribution"
        raise UserError(f"--limit {limit}", problem, f"give --limit {generation_evaluation.FEWEST} or more")
    generator = AudioGenerator.from_pretrained(model, device)
    steps = generator.model.calls if steps is None else steps
    untrained = AudioGenerator.untrained(model, device) if baselines else None
    manifest = Manifest.load(data)
    claim(report)
    settings = generation_evaluation.Settings(count, steps, sampler, seed, splits)
    found, clips = generation_evaluation.evaluate(generator, untrained, manifest, settings)
    path = generation_evaluation.write_report(found, clips, generator.sample_rate, report)
    print(path.read_text(encoding="utf-8"))
    return path


def _vocoder(model, data, report, steps, sampler, seed, limit, splits, device, baselines) -> Path:
    from audiodiff.data.manifest import Manifest
    from audiodiff.diffusion.samplers import presets
    from audiodiff.evaluation.evaluate import Settings, evaluate
    from audiodiff.evaluation.report import claim, write
    from audiodiff.pipelines.vocoder import Vocoder

    vocoder = Vocoder.from_pretrained(model, device)
    steps = vocoder.model.calls if steps is None else steps
    if sampler is not None:
        presets.build(sampler, steps)
    untrained = Vocoder.untrained(model, device) if baselines else None
    manifest = Manifest.load(data)
    claim(report)
    settings = Settings(steps, sampler, seed, splits, limit, baselines)
    return write(evaluate(vocoder, untrained, manifest, settings), report)
