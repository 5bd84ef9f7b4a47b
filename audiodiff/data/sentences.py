"""Whole sentences with their mels, phonemes, durations and pitch, and an endless stream of them in batches.

Mels are computed once and stored beside the manifest, below `.mels`, under the hash of their spec, in half precision
(19 kB a second at 100 bands and 93.75 frames a second): reading them takes a seventh of the time that decoding and
analyzing the recording takes. Items are the same whether their mel was stored or not.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from audiodiff.audio.mel import MelSpec
from audiodiff.audio.mel.spectrogram import MelSpectrogram
from audiodiff.conditioners.conditioner import Conditioner, Crop, raw_values
from audiodiff.data.batching import LengthBatches, collate, pad
from audiodiff.data.dataset import read_padded
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.files import atomic_write, short_name
from audiodiff.text.symbols import BOUNDARY, SymbolTable

_CONDITION = 3  # random stream, as of `CropDataset`
_CACHE = ".mels"


class SentenceDataset(Dataset):
    """Whole clips of a manifest with their mel, symbols, durations, pitch, and the raw values of conditioners.

    Args:
        manifest: clips with phonemes and durations.
        mel_spec: of the mels; clips at another rate are resampled.
        symbols: table of the phonemes.
        conditioners: whose raw values are fields of every item, without weights.
        seed: of random choices of conditioners.

    Raises:
        UserError: the manifest has no clip with phonemes and durations.
    """

    def __init__(
        self,
        manifest: Manifest,
        mel_spec: MelSpec,
        symbols: SymbolTable,
        conditioners: Sequence[Conditioner] = (),
        seed: int = 0,
    ):
        clips = tuple(clip for clip in manifest.clips if clip.phonemes and clip.durations)
        if not clips:
            fix = "run `audiodiff align` on it, or prepare a corpus that states durations, such as hibari"
            raise UserError(manifest.root, "has no clips with phonemes and durations in this split", fix)
        self.manifest = Manifest(clips, manifest.root, manifest.split_by)
        self.mel_spec, self.symbols, self.seed, self.conditioners = mel_spec, symbols, seed, tuple(conditioners)
        self.cache = manifest.root / _CACHE / hashlib.sha256(repr(mel_spec).encode()).hexdigest()[:12]
        self.by_speaker: dict[str, list[int]] = {}
        for number, clip in enumerate(clips):
            self.by_speaker.setdefault(clip.speaker, []).append(number)
        self._analysis: MelSpectrogram | None = None

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.manifest)

    @property
    def lengths(self) -> list[float]:
        """Seconds of each sentence."""
        return [clip.seconds for clip in self.manifest.clips]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The item of a clip, with the choices of draw 0."""
        return self.item(index, 0)

    def item(self, index: int, draw: int) -> dict[str, Any]:
        """`mel` (M, F), `tokens`, `durations` in frames and `pitch` in Hz (N,), raw values of conditioners, names."""
        clip = self.manifest.clips[index]
        mel = self.mel(clip)
        return {
            "mel": mel,
            "tokens": torch.tensor([BOUNDARY, *self.symbols.encode(clip.phonemes), BOUNDARY]),
            "durations": self.frames(clip, mel.shape[-1]),
            "pitch": torch.tensor(clip.pitch or (0.0,) * len(clip.durations)),
            "samples": self.samples(clip),
            "clip": clip.id,
            "path": str(self.manifest.path(clip)),
        } | self._conditions(clip, draw)

    def mel(self, clip: Clip) -> Tensor:
        """The log-mel (M, F) of a clip, rounded to half precision."""
        file = self._file(clip)
        try:
            stored = np.load(file)
        except (OSError, ValueError, EOFError):  # not stored yet, or damaged
            self._analysis = self._analysis or MelSpectrogram(self.mel_spec)
            samples = self.samples(clip)
            waveform = read_padded(self.manifest, clip, self.mel_spec.sample_rate, 0, samples)
            with torch.no_grad():
                mel = self._analysis(waveform)
            stored = mel.numpy().astype(np.float16)
            with atomic_write(file) as temporary, temporary.open("wb") as opened:
                np.save(opened, stored)
        return torch.from_numpy(stored.astype(np.float32))

    def samples(self, clip: Clip) -> int:
        """Samples of a clip at the mel's rate."""
        return round(clip.seconds * self.mel_spec.sample_rate)

    def frames(self, clip: Clip, frames: int) -> Tensor:
        """Durations of the clip's symbols in mel frames, which add up to the frames of its mel.

        A mel has a frame more than hops fit into the clip, half of it at either end.

        Raises:
            UserError: they do not add up.
        """
        durations = torch.tensor(clip.durations, dtype=torch.float64) * self.mel_spec.sample_rate
        edges = durations.cumsum(0) / self.mel_spec.hop_length + 0.5
        if abs(edges[-1] - frames) > 1:
            raise UserError(clip.id, "has durations that do not add up to its length", "prepare the data again")
        edges[-1] = frames
        return edges.clamp(max=frames).diff(prepend=edges.new_zeros(1))

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Pad mels, symbols, durations and pitch with zeros; conditioners collate their raw values."""

        def padded(tensors: Sequence[Tensor]) -> Tensor:
            return pad(tensors).values

        fields = {one.name: one.collate for one in self.conditioners}
        return collate(items, fields | dict.fromkeys(("mel", "tokens", "durations", "pitch"), padded))

    def _conditions(self, clip: Clip, draw: int) -> dict[str, Any]:
        random = np.random.default_rng((self.seed, _CONDITION, draw))
        others = self.by_speaker[clip.speaker]
        other = self.manifest.clips[others[int(random.integers(len(others)))]]
        length, rate = self.samples(clip), self.mel_spec.sample_rate
        reference = Crop(other, 0, self.samples(other), self.samples(other), rate, self._reader(other), random)
        crop = Crop(clip, 0, length, length, rate, self._reader(clip), random, reference)
        return raw_values(self.conditioners, crop)

    def _reader(self, clip: Clip) -> Any:
        return partial(read_padded, self.manifest, clip, self.mel_spec.sample_rate)

    def _file(self, clip: Clip) -> Path:
        path = self.cache / f"{clip.id}.{clip.content or 'unhashed'}"
        return path.with_name(short_name(path.name, len(".npy")) + ".npy")


class SentenceStream(Dataset):
    """An endless, stateless stream of sentences in batches of similar length; index it with any draw >= 0.

    Args:
        sentences: the sentences.
        batch_seconds: audio of a batch, padding included.
        batch_size: largest number of sentences of a batch.
        seed: of the stream.
        balance: speakers with fewer sentences are repeated, (most sentences / their own)^balance times: 0 not at all,
            1 until all have as many.

    Attributes:
        manifest: of the sentences.
        samples: mean length of a draw, at the mel's rate.
        from_start: sentences are whole.
    """

    from_start = True

    def __init__(
        self, sentences: SentenceDataset, batch_seconds: float, batch_size: int, seed: int = 0, balance: float = 0.0
    ):
        self.sentences, self.manifest, self.collate = sentences, sentences.manifest, sentences.collate
        self.entries = balanced([clip.speaker for clip in self.manifest.clips], balance)
        lengths = np.array(sentences.lengths)[self.entries]
        self.order = LengthBatches(lengths, batch_seconds, batch_size, seed=seed)
        self.samples = float(lengths.mean()) * sentences.mel_spec.sample_rate

    def __getitem__(self, draw: int) -> dict[str, Any]:
        """The item of a draw, with the number of the `draw`."""
        return self.sentences.item(int(self.entries[self.order.index(draw)]), draw) | {"draw": draw}

    def batches(self, draw: int) -> Iterator[list[int]]:
        """Batches of draws, endlessly, from a draw on."""
        return self.order.batches(draw)


def balanced(speakers: Sequence[str], balance: float) -> np.ndarray:
    """Numbers of sentences, those of speakers with few of them repeated (see `SentenceStream`)."""
    names, counts = np.unique(np.asarray(speakers), return_counts=True)
    repeats = dict(zip(names.tolist(), np.round((counts.max() / counts) ** balance).astype(int).tolist(), strict=True))
    return np.repeat(np.arange(len(speakers)), [repeats[name] for name in speakers])
