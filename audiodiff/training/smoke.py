"""Data for smoke runs: synthetic tones, and an untrained codec for models of latents."""

from collections.abc import Sequence
from pathlib import Path

from audiodiff.data.corpora.tones import write_tones
from audiodiff.files import folder_lock
from audiodiff.models.codec import Codec
from audiodiff.nn.autoencoder import Autoencoder


def prepare_tones(folder: str, labels: Sequence[str] = (), speakers: Sequence[str] = ()) -> None:
    """Write tones to `folder` unless data exists there; of several processes, the first one does.

    Args:
        folder: of the manifest.
        labels: of the tones.
        speakers: of the tones, which are then short sentences with phonemes.
    """
    path = Path(folder)
    if path.is_file():
        return
    with folder_lock(path, wait=True):
        found = {file.name for file in path.iterdir() if not file.name.startswith(".")} if path.is_dir() else set()
        if not found - {"tones"}:  # which a killed process leaves without a manifest
            write_tones(path, labels=labels, speakers=speakers, seconds=0.3 if speakers else 1.5)


def prepare_codec(folder: str | None, sample_rate: int, channels: int) -> None:
    """Write a small untrained codec to `folder`, unless one exists there or the data needs none (None)."""
    if folder is None:
        return
    with folder_lock(folder, wait=True):
        if not (Path(folder) / "config.json").exists():
            Codec(Autoencoder(channels=[8, 8], blocks=[1, 1]), sample_rate, channels).save_pretrained(folder)
