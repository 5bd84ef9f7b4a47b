"""`audiodiff guidance`: store the default guidance of a generator in its checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.model_folder import output_folder
from audiodiff.cli.options import Model, expand_options
from audiodiff.errors import UserError
from audiodiff.pipelines.guidance_options import GuidanceOptions


@expand_options
def guidance(
    model: Model,
    config: GuidanceOptions,
    out: Annotated[Path | None, typer.Option(help="Output folder (default: the model's).")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Store none: sampling is not guided by default.")] = False,
) -> None:
    """Store the guidance of a generator that counts where a request has conditions and names none.

    Options that are left out stay as they are. The part about it in the model's card is rewritten.
    """
    from audiodiff.export.model_card import describe_guidance
    from audiodiff.models import card, checkpoint
    from audiodiff.models.audio_model import AudioModel
    from audiodiff.pipelines.steering import combined

    given = config != GuidanceOptions()
    if given == remove:
        problem = "cannot be combined with other values" if given else "nothing to store"
        raise UserError("--remove" if given else "guidance", problem, "give --guidance 3, or --remove alone")
    folder = checkpoint.locate(model)
    target = output_folder(model, out)
    found = checkpoint.load(folder)
    loaded = AudioModel.from_checkpoint(found, folder)
    if not loaded.condition_options():
        raise UserError(model, "has no conditions to guide to", "choose a model with labels or prompts")
    setting = None if remove else combined(config, loaded.guidance)
    changed = loaded.with_arguments(guidance=setting)
    readme = folder / "README.md"
    text, part = readme.read_text(encoding="utf-8") if readme.is_file() else "", describe_guidance(changed)
    if part or card.get(card.GUIDANCE, text):
        text = card.insert(part, text, readme, card.GUIDANCE)
    checkpoint.save(target, replace(found, arguments=changed.arguments()), text)
    print(f"guidance: {setting or 'none'}")
    if setting is not None and setting.scale == 1:
        print("A guidance scale of 1 is none: what is stored counts for --guidance and guides of a request.")
