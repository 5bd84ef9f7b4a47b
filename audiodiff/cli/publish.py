"""`audiodiff publish`: write the model of a training run as one that is shipped with the package."""

from pathlib import Path
from typing import Annotated

import typer


def publish(
    model: Annotated[Path, typer.Argument(help="Model folder of a run, such as runs/speech_mel/<date_time>/model.")],
    data: Annotated[list[Path], typer.Option(help="Manifest that the model was trained on; repeat for several.")],
    notes: Annotated[Path, typer.Option(help="Markdown file with the model's known limitations.")],
    out: Annotated[Path, typer.Option(help="Output folder, such as audiodiff/pretrained/NAME.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model.")] = False,
) -> None:
    """Export a model for release: half-precision weights and a card with training, data, licenses and benchmark.

    Refuses models above 8 million parameters or 16 MiB.
    """
    from audiodiff.data.manifest import Manifest
    from audiodiff.errors import UserError
    from audiodiff.export.publish import publish

    try:
        text = notes.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(notes, f"cannot be read ({error})", "give a Markdown file") from error
    folder = publish(model, out, [Manifest.load(path) for path in data], text, overwrite)
    copy_benchmark(model, folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 2**20:.1f} MiB")


def copy_benchmark(model: Path, folder: Path) -> None:
    """Copy the measurements of a run's model, if any, to the published model, with the hash of its weights."""
    from shutil import copyfile

    from audiodiff.files import atomic_write
    from audiodiff.models import card, checkpoint

    source = checkpoint.locate(model)
    for file in sorted(source.glob("benchmark.*")):
        with atomic_write(folder / file.name) as temporary:
            copyfile(file, temporary)
    readme = source / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    for part in (card.BENCHMARK, card.COMPRESSION):
        if table := card.get(part, text):
            digest = checkpoint.load(source).digest[:12]
            note = f"Measured before conversion to half precision, on checkpoint {digest}."
            card.put(f"{note}\n\n{table}", folder / "README.md", part)
