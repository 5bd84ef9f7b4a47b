"""`audiodiff benchmark`: quality and speed of a model over samplers, steps and iterations."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from audiodiff.cli.options import Model
from audiodiff.errors import UserError
from audiodiff.extras import require

Number = TypeVar("Number", int, float)
RECORD, TABLE, PLOT = "benchmark.json", "benchmark.md", "benchmark.png"
EARLIER = {"curve.json": RECORD, "curve.md": TABLE, "curve.png": PLOT}


def benchmark(
    model: Model,
    data: Annotated[
        list[str],
        typer.Option(
            help="Manifest or its folder; repeat for several. NAME=PATH names it (default: folder name); those of one "
            "NAME are one group of clips."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for benchmark.md, benchmark.png and benchmark.json (default: the model's, whose card gets "
            "the table too)."
        ),
    ] = None,
    steps: Annotated[
        str,
        typer.Option(help="Denoising steps, separated by commas (default: 1,2,4,6,10,20,50; for a voice 1,2,4,8,16)."),
    ] = "",
    samplers: Annotated[
        str, typer.Option(help="Samplers, separated by commas (default: the model's own, ddim and dpmpp_2m).")
    ] = "",
    iterations: Annotated[
        str,
        typer.Option(
            help="Mel-consistency iterations of a vocoder, separated by commas (default: those of its default setting)."
        ),
    ] = "",
    tuned: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=MODEL: the vocoder after fine-tuning on the voice of the data of this name, whose settings "
            "become rows there; repeat for several."
        ),
    ] = None,
    guidance_scales: Annotated[
        str, typer.Option(help="Guidance scales of a voice, separated by commas (default: the model's own).")
    ] = "",
    temperatures: Annotated[
        str, typer.Option(help="Temperatures of a voice, separated by commas (default: the model's own).")
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
    """Benchmark quality and speed of a vocoder or a voice over steps. Existing results are reused: rerun to resume.

    The named settings of a vocoder are rows too.
    """
    require("metrics")
    require("report")

    from audiodiff.evaluation import plot, registry, report, table
    from audiodiff.files import write_text
    from audiodiff.models import card, checkpoint

    if out is None and checkpoint.locate(model) != model:
        raise UserError(model, "is a shipped model, which is not modified", "add --out FOLDER")

    sweep = registry.Sweep(
        numbers("--steps", steps, int),
        words(samplers),
        words(metrics),
        numbers("--iterations", iterations, int),
        dict(map(named_model, tuned or ())),
        numbers("--guidance-scales", guidance_scales, float),
        numbers("--temperatures", temperatures, float),
        seed,
        tuple(split or registry.Sweep.splits),
        limit,
        language,
    )
    folder = out or model
    report.make_folder(folder)
    for earlier, name in EARLIER.items():
        if (folder / earlier).exists() and not (folder / name).exists():
            (folder / earlier).rename(folder / name)
    record = registry.run_benchmark(model, manifests(data), sweep, folder / RECORD)
    plot.draw(record, folder / PLOT)
    text = table.markdown(record, PLOT)
    write_text(folder / TABLE, text)
    if out is None:
        card.put(text, model / "README.md")
    print(*(line for block in record.shown for line in table.comparisons(block)), folder / TABLE, sep="\n")


def words(text: str) -> tuple[str, ...]:
    """Split a list at commas and blanks."""
    return tuple(text.replace(",", " ").split())


def numbers(option: str, text: str, kind: type[Number]) -> tuple[Number, ...]:
    """Parse the numbers of a list, separated by commas or blanks.

    Args:
        option: that the list is of.
        text: the list.
        kind: int or float.

    Raises:
        UserError: it holds something else.
    """
    try:
        return tuple(map(kind, words(text)))
    except ValueError:
        whole = "integers" if kind is int else "numbers"
        raise UserError(f"{option} {text}", f"is not a list of {whole}", f"write it like {option} 4,6,10") from None


def named_model(item: str) -> tuple[str, Path]:
    """Split NAME=MODEL.

    Raises:
        UserError: it is something else.
    """
    name, equals, folder = item.partition("=")
    if not (name and equals and folder):
        raise UserError(f"--tuned {item}", "is not NAME=MODEL", "write it like --tuned voice=runs/mine/model")
    return name, Path(folder)


def manifests(data: list[str]) -> dict:
    """Load manifests by name, from PATH or NAME=PATH; those of one NAME are joined.

    Raises:
        UserError: two without a NAME have the same one, one cannot be read, or a clip is in two of one NAME.
    """
    from audiodiff.data.manifest import Manifest

    found: dict[str, list[Manifest]] = {}
    for item in data:
        is_named = "=" in item and not Path(item).exists()
        name, _, path = item.partition("=") if is_named else ("", "", item)
        manifest = Manifest.load(path)
        name = name or manifest.root.resolve().name
        if name in found and not is_named:
            raise UserError(f"--data {item}", f"another manifest is named {name}", "name it: --data NAME=PATH")
        found.setdefault(name, []).append(manifest)
    return {name: Manifest.join(several) for name, several in found.items()}
