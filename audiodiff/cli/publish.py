"""`audiodiff publish`: a training run's model becomes one that is shipped with the package."""

from pathlib import Path
from typing import Annotated

import typer


def publish(
    model: Annotated[Path, typer.Argument(help="Model folder of a run, such as runs/speech_mel/<date_time>/model.")],
    data: Annotated[list[Path], typer.Option(help="Manifest that it was trained on; repeatable.")],
    notes: Annotated[Path, typer.Option(help="Markdown file that says what is known to fail.")],
    out: Annotated[Path, typer.Option(help="Folder for it, such as audiodiff/pretrained/NAME.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model there.")] = False,
) -> None:
    """Write a model in half precision, with a card of its training, data, licenses and curve; none that is large."""
    from audiodiff.data.manifest import Manifest
    from audiodiff.errors import UserError
    from audiodiff.export import publish

    try:
        text = notes.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(notes, f"cannot be read ({error})", "give a Markdown file") from error
    folder = publish.publish(model, out, [Manifest.load(path) for path in data], text, overwrite)
    carry_curve(model, folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 2**20:.1f} MiB")


def carry_curve(model: Path, folder: Path) -> None:
    """Give a published model the curve of the one that it was made of, if there is one, and say of what it is."""
    from shutil import copyfile

    from audiodiff.evaluation import card
    from audiodiff.files import atomic_write
    from audiodiff.models import checkpoint

    source = checkpoint.locate(model)
    for file in sorted(source.glob("curve.*")):
        with atomic_write(folder / file.name) as temporary:
            copyfile(file, temporary)
    told = source / "README.md"
    _, _, rest = (told.read_text(encoding="utf-8") if told.is_file() else "").partition(card.BEGIN)
    curve, end, _ = rest.partition(card.END)
    if end:
        digest = checkpoint.load(source).digest[:12]
        note = f"Measured before the weights were brought to half precision, on checkpoint {digest}."
        card.put(f"{note}\n\n{curve.strip()}", folder / "README.md")
