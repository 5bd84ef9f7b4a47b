"""`audiodiff benchmark`: quality and speed of a model over samplers and steps."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Model
from audiodiff.errors import UserError
from audiodiff.extras import require

RECORD, TABLE, PLOT = "benchmark.json", "benchmark.md", "benchmark.png"
EARLIER = {"curve.json": RECORD, "curve.md": TABLE, "curve.png": PLOT}


def benchmark(
    model: Model,
    data: Annotated[
        list[str],
        typer.Option(help="Manifest or its folder; repeat for several. NAME=PATH names it (default: folder name)."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for benchmark.md, benchmark.png and benchmark.json (default: the model's, whose card gets "
            "the table too)."
        ),
    ] = None,
    steps: Annotated[str, typer.Option(help="Denoising steps, separated by commas.")] = "1,2,4,6,10,20,50",
    samplers: Annotated[
        str, typer.Option(help="Samplers, separated by commas (default: the model's own, ddim and dpmpp_2m).")
    ] = "",
    metrics: Annotated[str, typer.Option(help="Metrics, such as pesq,stoi,wer (default: all).")] = "",
    seed: Annotated[int, typer.Option(help="Random seed. Each clip's noise depends on the seed and its name.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Maximum number of clips per manifest (default: all).")] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split to evaluate; repeat for several (default: validation and test)."),
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language of clips whose corpus does not state it, as a code such as en.")
    ] = "",
) -> None:
    """Benchmark quality and speed over samplers and steps. Existing results are kept: rerun to resume."""
    require("metrics")
    require("report")
    import torch

    from audiodiff.evaluation import card, plot, report, table
    from audiodiff.evaluation.benchmark import Settings, sweep
    from audiodiff.files import write_text
    from audiodiff.metrics import METRICS
    from audiodiff.models import checkpoint
    from audiodiff.pipelines.vocoder import Vocoder

    if out is None and checkpoint.locate(model) != model:
        raise UserError(model, "is a shipped model, which is not modified", "add --out FOLDER")

    settings = Settings(
        words(samplers),
        integers(steps),
        words(metrics) or tuple(METRICS),
        seed,
        tuple(split or Settings.splits),
        limit,
        language,
    )
    vocoder = Vocoder.from_pretrained(model)
    on_gpu = Vocoder.from_pretrained(model, "cuda") if torch.cuda.is_available() else None
    folder = out or model
    report.make_folder(folder)
    for earlier, name in EARLIER.items():
        if (folder / earlier).exists() and not (folder / name).exists():
            (folder / earlier).rename(folder / name)
    record = sweep(vocoder, on_gpu, manifests(data), settings, folder / RECORD)
    plot.draw(record, folder / PLOT)
    text = table.markdown(record, PLOT)
    write_text(folder / TABLE, text)
    if out is None:
        card.put(text, model / "README.md")
    print(*(line for block in record.shown for line in table.comparisons(block)), folder / TABLE, sep="\n")


def words(text: str) -> tuple[str, ...]:
    """Split a list at commas and blanks."""
    return tuple(text.replace(",", " ").split())


def integers(text: str) -> tuple[int, ...]:
    """Parse the integers of a list, separated by commas or blanks.

    Raises:
        UserError: it holds something else.
    """
    try:
        return tuple(map(int, words(text)))
    except ValueError:
        raise UserError(f"--steps {text}", "is not a list of integers", "write it like --steps 4,6,10") from None


def manifests(data: list[str]) -> dict:
    """Load manifests by name, from PATH or NAME=PATH.

    Raises:
        UserError: two have the same name, or one cannot be read.
    """
    from audiodiff.data.manifest import Manifest

    found = {}
    for item in data:
        is_named = "=" in item and not Path(item).exists()
        name, _, path = item.partition("=") if is_named else ("", "", item)
        manifest = Manifest.load(path)
        name = name or manifest.root.resolve().name
        if name in found:
            raise UserError(f"--data {item}", f"another manifest is named {name}", "name it: --data NAME=PATH")
        found[name] = manifest
    return found
