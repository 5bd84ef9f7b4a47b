"""Mels saved by other programs: without a spec, in any layout, in the common formats.

They are for diagnosis; `file` loads mels for a vocoder.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from audiodiff.audio.mel import MelSpec
from audiodiff.audio.mel.file import parse_spec, read_spec, spec_path
from audiodiff.audio.npy import MAX_BYTES, read_npy
from audiodiff.errors import UserError, first_line

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")


def read_array(path: str | Path) -> tuple[np.ndarray, MelSpec | None]:
    """Load an array unchanged, and its spec if the file or a NAME.melspec.json beside it has one.

    Args:
        path: `.npy`, `.npz`, `.pt`, `.pth` or `.safetensors`; of several arrays, the one named `mel`.

    Raises:
        UserError: no such file, another format, damaged, a pickle of anything but tensors, no array of real numbers.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(path, "is a folder, not a mel" if os.path.isdir(path) else "no such file", "check the path")
    if path.suffix not in SUFFIXES:
        raise UserError(path, "is not a mel", f"expected {', '.join(SUFFIXES)}")
    try:
        content, stated = _content(path)
    except UserError:
        raise
    except SafetensorError as error:
        raise UserError(path, f"is not a complete safetensors file ({error})", "save it again") from error
    except Exception as error:  # unpicklers, even of tensors alone, and damaged archives raise anything
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
    """Load the arrays of an archive, whose unpacked size is limited."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
        for member in archive.infolist():
            with archive.open(member) as content:
                arrays[member.filename.removesuffix(".npy")] = read_npy(cast(BinaryIO, content), member.file_size)
    return arrays


def _only(path: Path, content: Any) -> np.ndarray:
    if isinstance(content, Mapping):
        if "mel" not in content and len(content) != 1:
            raise UserError(path, f"holds {len(content)} entries, none named 'mel'", "save one array of numbers")
        content = content["mel"] if "mel" in content else next(iter(content.values()))
    if isinstance(content, torch.Tensor):
        if content.numel() * 4 > MAX_BYTES:  # an expanded number may have any shape
            raise UserError(path, f"holds {content.numel()} numbers, which is too many", "split it into several files")
        content = (content.float() if content.is_floating_point() else content).detach().numpy()
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu":
        raise UserError(path, "holds no array of real numbers", "save one array of numbers")
    return content
