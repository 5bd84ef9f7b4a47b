"""The folder that verbs which change a model write it to."""

from pathlib import Path

from audiodiff.errors import UserError


def output_folder(model: Path, out: Path | None) -> Path:
    """`out`, or the folder of the model itself, which is then replaced.

    Args:
        model: folder, or the name of a shipped model.
        out: as the user asked for it.

    Raises:
        UserError: a shipped model without `out`, or another model in `out`.
    """
    from audiodiff.models import checkpoint

    folder = checkpoint.locate(model)
    if out is None and folder != model:
        raise UserError(model, "is a shipped model, which is not modified", "add --out FOLDER")
    if out and (out / "config.json").exists() and out.resolve() != folder.resolve():
        raise UserError(out, "holds a model already", "choose another --out")
    return out or model


def new_folder(out: Path) -> Path:
    """The folder of a new model.

    Raises:
        UserError: it holds a model already.
    """
    if (out / "config.json").exists():
        raise UserError(out, "holds a model already", "choose another --out")
    return out
