"""`audiodiff curve`: how good and how fast a model is, over samplers and numbers of network calls."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.errors import UserError
from audiodiff.extras import require

RECORD, TABLE, PLOT = "curve.json", "curve.md", "curve.png"


def curve(
    model: Annotated[Path, typer.Option(help="Folder of the model, or the name of a shipped one.")],
    data: Annotated[
        list[str],
        typer.Option(help="Manifest, or its folder, repeatable; NAME=PATH names it, else it has the folder's name."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for curve.md, curve.png, curve.json; the model's, whose card gets the table too."),
    ] = None,
    calls: Annotated[str, typer.Option(help="Numbers of network calls, such as 6,200.")] = "1,2,4,6,10,20,50",
    samplers: Annotated[
        str, typer.Option(help="Names, such as ddim,dpmpp_2m; the model's own and these two if left out.")
    ] = "",
    judges: Annotated[str, typer.Option(help="Names, such as pesq,stoi,wer; all if left out.")] = "",
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    limit: Annotated[int | None, typer.Option(help="At most so many clips of each manifest.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Split to judge, repeatable; validation and test.")] = None,
    language: Annotated[str, typer.Option(help="Of clips whose corpus does not tell, such as en.")] = "",
) -> None:
    """Sweep samplers and numbers of network calls; what was measured before is kept, so it goes on where it stopped."""
    require("metrics")
    require("report")
    import torch

    from audiodiff.evaluation import card, plot, report, table
    from audiodiff.evaluation.benchmark import Settings, sweep
    from audiodiff.files import write_text
    from audiodiff.metrics import ALL
    from audiodiff.models import checkpoint
    from audiodiff.pipelines.vocoder import Vocoder

    if out is None and checkpoint.locate(model) != model:
        raise UserError(model, "is shipped with the package", "say with --out where the curve goes")

    settings = Settings(
        words(samplers),
        numbers(calls),
        words(judges) or tuple(ALL),
        seed,
        tuple(split or Settings.splits),
        limit,
        language,
    )
    vocoder = Vocoder.from_pretrained(model)
    on_gpu = Vocoder.from_pretrained(model, "cuda") if torch.cuda.is_available() else None
    folder = out or model
    report.claim(folder)
    record = sweep(vocoder, on_gpu, manifests(data), settings, folder / RECORD)
    plot.draw(record, folder / PLOT)
    text = table.markdown(record, PLOT)
    write_text(folder / TABLE, text)
    if out is None:
        card.put(text, model / "README.md")
    print(*(line for block in record.shown for line in table.comparisons(block)), folder / TABLE, sep="\n")


def words(listed: str) -> tuple[str, ...]:
    """The words of a list, divided by commas or blanks."""
    return tuple(listed.replace(",", " ").split())


def numbers(listed: str) -> tuple[int, ...]:
    """The whole numbers of a list, divided by commas or blanks.

    Raises:
        UserError: something else is in it.
    """
    try:
        return tuple(map(int, words(listed)))
    except ValueError:
        raise UserError(f"--calls {listed}", "is no list of whole numbers", "write it like 4,6,10") from None


def manifests(data: list[str]) -> dict:
    """Manifests by name, from PATH or NAME=PATH.

    Raises:
        UserError: two of one name, or a manifest that cannot be read.
    """
    from audiodiff.data.manifest import Manifest

    found = {}
    for given in data:
        named = "=" in given and not Path(given).exists()
        name, _, path = given.partition("=") if named else ("", "", given)
        manifest = Manifest.load(path)
        name = name or manifest.root.resolve().name
        if name in found:
            raise UserError(f"--data {given}", f"there is a {name} already", "name them: --data NAME=PATH")
        found[name] = manifest
    return found
