"""`audiodiff info`: what a checkpoint folder holds, or how an audio file was made."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

_MAX_TEXT = 1000  # characters of an entry of a file's metadata that are shown


def info(
    model: Annotated[
        Path,
        typer.Argument(
            help="Model folder, such as runs/speech_mel/<date_time>/model, exported folder, name of a shipped model, "
            "or audio file."
        ),
    ],
) -> None:
    """Show a model's components, mel spec, sampler, training, licenses, size and hash. Checks that its weights load.

    Of an audio file: its format, whether it holds a watermark, and the settings that it was made with.
    """
    from audiodiff.audio.reading.formats import EXTENSIONS

    is_audio = os.path.isfile(model) or (model.suffix.lower() in EXTENSIONS and not os.path.isdir(model))
    for name, value in audio_facts(model) if is_audio else facts(model):
        typer.echo(f"{name:12}  {value}")


def audio_facts(path: Path) -> Iterator[tuple[str, str]]:
    """(name, value) of an audio file: its format, and whether it holds a watermark, and what its metadata says.

    Raises:
        UserError: it cannot be read.
    """
    import torch

    from audiodiff.audio.metadata import read_metadata
    from audiodiff.audio.reading.audio_file import AudioFile
    from audiodiff.audio.watermark import detect_chunks
    from audiodiff.rendering.settings import shipped_models

    with AudioFile(path) as file:
        found = detect_chunks((torch.from_numpy(block.T) for block in file.blocks()), file.sample_rate)
        seconds = file.samples / file.sample_rate
    metadata = read_metadata(path)
    yield "file", str(path)
    yield "audio", f"{seconds:.3f} s, {file.sample_rate} Hz, channels: {file.channels}"
    yield "watermark", f"{found}{'; its metadata state one' if metadata.pop('watermark', None) is True else ''}"
    if not metadata:
        yield "settings", "none in its metadata"
    names = shipped_models() if any(name.endswith("model_hash") for name in metadata) else {}
    for name, value in metadata.items():
        text = value if isinstance(value, str) else format_component(value)
        known = f" ({names[text]})" if text in names else ""
        yield _printable(name), _printable(text) + known


def _printable(text: str) -> str:
    """A text of a file for a terminal: one line, without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)[:_MAX_TEXT]


def facts(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, value) of everything that is known of a checkpoint or an exported model, in reading order.

    Raises:
        UserError: the folder is missing, damaged, or its weights do not fit its configuration.
    """
    from audiodiff.models import checkpoint, onnx_export
    from audiodiff.models.registry import MODEL_TYPES

    if onnx_export.is_export(folder):
        yield from _exported(folder)
        return
    folder = checkpoint.locate(folder)
    found = checkpoint.load(folder)
    model = MODEL_TYPES[found.type].from_checkpoint(found, folder)
    yield "folder", str(folder)
    yield "type", model.TYPE
    yield "parameters", f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    yield "size", f"{_size(folder) / 1e6:.1f} MB, weights in {found.stored}"
    yield "hash", found.digest
    for name in model.ARGUMENTS:
        if name not in ("grids", "settings"):
            yield name, format_component(checkpoint.describe(getattr(model, name)))
    for index, setting in enumerate(getattr(model, "settings", ())):
        yield "setting", f"{setting.name}: {setting}{'' if index else ' (default)'}"
    for grid in getattr(model, "grids", ()):
        yield "grid", f"{grid.sampler}, {grid.steps} steps: {' '.join(f'{t:.4g}' for t in grid.times)}"
    yield from _licenses(folder, found.training)
    for name, value in found.training.items():
        yield "training", f"{name} = {format_component(value)}"


def _exported(folder: Path) -> Iterator[tuple[str, str]]:
    """The same of an exported model."""
    from audiodiff.models import onnx_export

    export = onnx_export.read(folder)
    config = export.config
    yield "folder", str(folder)
    yield "type", f"{config['type']}, exported to ONNX"
    yield "checkpoint", f"{config['checkpoint']['name']}, {config['checkpoint']['hash']}"
    yield "size", f"{_size(folder) / 1e6:.1f} MB, weights in {config['dtype']}"
    yield "hash", export.digest
    for name, shape in config["graph"]["inputs"].items():
        yield "input", f"{name} ({', '.join(map(str, shape))})"
    yield "output", f"{config['graph']['output']}, like x"
    for name, value in config["model"].items():
        if name not in ("grids", "settings"):
            yield name, format_component(value)
    for setting in config.get("runner", {}).get("settings", {}).items():
        yield "setting", f"{setting[0]}: {format_component(setting[1])}"
    yield from _licenses(folder, config["training"])
    for name, value in config["training"].items():
        yield "training", f"{name} = {format_component(value)}"


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _licenses(folder: Path, training: dict) -> Iterator[tuple[str, str]]:
    """Licenses of the training data, and what they ask for; nothing for a model without a record and a card."""
    from audiodiff.data.licenses import license_names, license_terms
    from audiodiff.models.training_record import data_licenses

    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    if statements := data_licenses(training, text):
        yield "licenses", f"trained on audio under {', '.join(license_names(*statements)) or 'no stated license'}"
        yield "terms", str(license_terms(*statements))


def format_component(value: Any) -> str:
    """A described component as the call that creates it, a plain value as it is."""
    if isinstance(value, dict):
        arguments = ", ".join(f"{name}={format_component(item)}" for name, item in value.items() if name != "type")
        return f"{value['type']}({arguments})" if "type" in value else arguments
    if isinstance(value, list):
        return f"[{', '.join(map(format_component, value))}]"
    return str(value)
