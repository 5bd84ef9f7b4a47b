"""Arrays that other programs saved as mels: no spec, any layout, in one of the formats that people use.

Unlike `mel_file`, which reads what a vocoder can be given, this reads numbers to be looked at.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from audiodiff.audio.mel import MelSpec
from audiodiff.audio.mel.file import parse_spec, read_spec, spec_path
from audiodiff.audio.npy import MOST_BYTES, read_npy
from audiodiff.errors import UserError, first_line

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")


def read_array(path: str | Path) -> tuple[np.ndarray, MelSpec | None]:
    """The numbers of a saved array, as they are, and the spec that the file or a NAME.melspec.json beside it states.

    Args:
        path: `.npy`, `.npz`, `.pt`, `.pth` or `.safetensors`; of several arrays, the one called `mel`.

    Raises:
        UserError: no such file, another format, damaged, a pickle of more than tensors, no array of real numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "is a folder, not a mel" if path.is_dir() else "no such file")
    if path.suffix not in SUFFIXES:
        raise UserError(path, "is not a mel", f"expected {', '.join(SUFFIXES)}")
    try:
        content, stated = _content(path)
    except UserError:
        raise
    except SafetensorError as error:
        raise UserError(path, f"is not a whole safetensors file ({error})", "save it again") from error
    except Exception as error:  # An unpickler, even of tensors alone, and damaged archives raise anything.
        problem = f"cannot be read ({first_line(error)[:120]})"
        raise UserError(path, problem, "save one array of numbers again") from error
    return _only(path, content), stated


def _content(path: Path) -> tuple[Any, MelSpec | None]:
    """(array or arrays by name, spec)."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            stated = (file.metadata() or {}).get("melspec")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, None if stated is None else parse_spec(path, stated)
    beside = spec_path(path)
    stated = read_spec(beside) if beside.is_file() else None
    if path.suffix in (".pt", ".pth"):
        return torch.load(path, map_location="cpu", weights_only=True), stated
    with path.open("rb") as file:
        return _read_npz(file) if path.suffix == ".npz" else read_npy(file, path.stat().st_size), stated


def _read_npz(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an archive; what it unpacks to is bounded."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
            raise ValueError(f"it unpacks to more than the {MOST_BYTES} bytes that are read at once")
        for member in archive.infolist():
            with archive.open(member) as content:
                arrays[member.filename.removesuffix(".npy")] = read_npy(content, member.file_size)
    return arrays


def _only(path: Path, content: Any) -> np.ndarray:
    if isinstance(content, Mapping):
        if "mel" not in content and len(content) != 1:
            raise UserError(path, f"holds {len(content)} things, none called 'mel'", "save one array of numbers")
        content = content["mel"] if "mel" in content else next(iter(content.values()))
    if isinstance(content, torch.Tensor):
        if content.numel() * 4 > MOST_BYTES:  # a single number may claim any shape
            raise UserError(path, f"holds {content.numel()} numbers, more than are read at once", "cut it into pieces")
        content = (content.float() if content.is_floating_point() else content).detach().numpy()
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu":
        raise UserError(path, "holds no array of real numbers", "save one array of numbers")
    return content
