"""`audiodiff setting`: store a named setting in a vocoder's checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.model_folder import output_folder
from audiodiff.cli.options import Model
from audiodiff.errors import UserError


def setting(
    name: Annotated[str, typer.Argument(help="Name of the setting, such as fast or good.")],
    model: Model,
    out: Annotated[Path | None, typer.Option(help="Output folder (default: the model's).")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", min=1)] = None,
    sampler: Annotated[str | None, typer.Option(help="Name of the sampler.")] = None,
    consistency: Annotated[
        int | None, typer.Option(help="Mel-consistency iterations after sampling (0 disables).", min=0)
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the model's default.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it.")] = False,
) -> None:
    """Store a named setting in a vocoder, change one, or remove it.

    Options that are left out stay as they are; in a new setting they are those of the default one. A model's unnamed
    setting (default) is replaced by the first one that is named with --default. The table in its card is rewritten.
    """
    from audiodiff.export.model_card import describe_settings
    from audiodiff.models import card, checkpoint
    from audiodiff.models.setting import change_setting, find_setting
    from audiodiff.models.vocoder_model import VocoderModel

    folder = checkpoint.locate(model)
    target = output_folder(model, out)
    found = checkpoint.load(folder)
    loaded = VocoderModel.from_checkpoint(found, folder)
    values = {"steps": steps, "sampler": sampler, "consistency": consistency}
    changes = {key: value for key, value in values.items() if value is not None}
    if remove:
        if changes or default:
            raise UserError("--remove", "cannot be combined with other values", "leave them out")
        find_setting(loaded.settings, name)
        settings = [one for one in loaded.settings if one.name != name]
    else:
        settings = change_setting(loaded.settings, name, default, **changes)
    changed = loaded.with_arguments(settings=settings)
    for one in settings:
        changed.sampler_for(one.steps, one.sampler)  # with a warning where it has fewer steps than were validated
    readme = folder / "README.md"
    text, table = readme.read_text(encoding="utf-8") if readme.is_file() else "", describe_settings(changed)
    if table or card.get(card.SETTINGS, text):
        text = card.insert(table, text, readme, card.SETTINGS)
    checkpoint.save(target, replace(found, arguments=changed.arguments()), text)
    for one in settings:
        print(f"{one.name}: {one}")
