"""Atomic writing and checking of Lightning checkpoints."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from audiodiff.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target and renames it.

    Lightning's own uses the folder for temporary files, which may be on another, smaller disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            UserError: the file cannot be written.
        """
        encoded = io.BytesIO()  # torch.save to a file hides why a disk refuses
        torch.save(checkpoint, encoded)
        with atomic_write(path) as temporary:
            temporary.write_bytes(encoded.getbuffer())


def is_intact(path: Path) -> bool:
    """Whether a checkpoint can be read and its checksums are correct."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return False
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # a damaged archive can raise anything
        return False
    return True
