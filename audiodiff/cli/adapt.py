"""`audiodiff adapt`: an adapter from reference clips, without training."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model
from audiodiff.errors import UserError


def adapt(
    clips: Annotated[list[Path], typer.Argument(help="Recordings of one sound, instrument or kind.")],
    *,
    model: Model = Path("sounds-hypernetwork"),
    out: Annotated[Path, typer.Option(help="Output folder of the adapter.")],
    device: Device = "auto",
) -> None:
    """Predict an adapter from reference clips by a hypernetwork, in one pass and without training."""
    from audiodiff.models.adapter import CONFIG
    from audiodiff.pipelines.adapter_predictor import AdapterPredictor, card

    for name in ("config.json", CONFIG):
        if (out / name).exists():
            raise UserError(out, "holds a model or an adapter already", "choose another --out")
    adapter = AdapterPredictor.from_pretrained(model, device).predict(clips)
    adapter.save(out, card(adapter))
    print(out)
