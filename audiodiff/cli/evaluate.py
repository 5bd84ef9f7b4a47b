"""`audiodiff evaluate`: judge a model on held-out recordings."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[Path, typer.Option(help="Folder of the model, or the name of a shipped one.")],
    data: Annotated[Path, typer.Option(help="Manifest, or the folder that holds manifest.jsonl.")],
    report: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    steps: Annotated[int | None, typer.Option(help="Network calls a clip; the model's own if left out.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Name of the sampler; the model's own if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    limit: Annotated[int | None, typer.Option(help="At most so many clips.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Split to judge, repeatable; validation and test.")] = None,
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")] = "cpu",
    baselines: Annotated[bool, typer.Option(help="Judge systems that need no training beside the network.")] = True,
) -> None:
    """Judge a model on held-out recordings; the report's path is the last line printed."""
    import sys
    import warnings

    from audiodiff.data.manifest import Manifest
    from audiodiff.diffusion import presets
    from audiodiff.evaluation.evaluate import Settings, evaluate
    from audiodiff.evaluation.report import claim, write
    from audiodiff.synthesis.vocoder import Vocoder

    vocoder = Vocoder.from_pretrained(model, device)
    steps = vocoder.model.calls if steps is None else steps
    if sampler is not None:
        presets.build(sampler, steps)
    untrained = Vocoder.untrained(model, device) if baselines else None
    manifest = Manifest.load(data)
    claim(report)
    settings = Settings(steps, sampler, seed, tuple(split or Settings.splits), limit, baselines)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        evaluation = evaluate(vocoder, untrained, manifest, settings)
    print(write(evaluation, report))
