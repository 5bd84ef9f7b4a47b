"""Whole sentences with their phonemes, durations and pitch, in batches of similar length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from audiodiff.audio.mel import MelSpec
from audiodiff.audio.mel.spectrogram import MelSpectrogram
from audiodiff.data.batching import LengthBuckets, collate, pad
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.ranges import NonNegative, Positive, PositiveFloat
from audiodiff.text.symbols import BOUNDARY, SymbolTable
from audiodiff.training.datamodule import ManifestData


class SentenceDataset(Dataset):
    """Whole clips of a manifest with their mel, symbols, durations and pitch.

    Args:
        manifest: clips with phonemes and durations.
        mel_spec: of the mels.
        symbols: table of the phonemes.
        speakers: K names of the model's speakers.

    Raises:
        UserError: the manifest has no clip with phonemes and durations.
    """

    def __init__(self, manifest: Manifest, mel_spec: MelSpec, symbols: SymbolTable, speakers: Sequence[str]):
        clips = tuple(clip for clip in manifest.clips if clip.phonemes and clip.durations)
        if not clips:
            fix = "run `audiodiff align` on it, or prepare a corpus that states durations, such as hibari"
            raise UserError(manifest.root, "has no clips with phonemes and durations in this split", fix)
        self.manifest = Manifest(clips, manifest.root, manifest.split_by)
        self.mel_spec, self.symbols, self.speakers = mel_spec, symbols, tuple(speakers)
        self.mel = MelSpectrogram(mel_spec)

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.manifest)

    @property
    def lengths(self) -> list[float]:
        """Seconds of each sentence."""
        return [clip.seconds for clip in self.manifest.clips]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`mel` (M, F), `tokens`, `durations` in frames and `pitch` in Hz (N,), `speaker` (K,), names."""
        clip = self.manifest.clips[index]
        rate = self.mel_spec.sample_rate
        waveform = read_crop(self.manifest, clip, rate, 0, round(clip.seconds * rate))
        with torch.no_grad():
            mel = self.mel(waveform)
        return {
            "mel": mel,
            "tokens": torch.tensor([BOUNDARY, *self.symbols.encode(clip.phonemes), BOUNDARY]),
            "durations": self.frames(clip, mel.shape[-1]),
            "pitch": torch.tensor(clip.pitch or (0.0,) * len(clip.durations)),
            "speaker": torch.tensor([float(name == clip.speaker) for name in self.speakers]),
            "clip": clip.id,
            "path": str(self.manifest.path(clip)),
        }

    def frames(self, clip: Clip, frames: int) -> Tensor:
        """Durations of the clip's symbols in mel frames, which add up to the frames of its mel.

        A mel has a frame more than hops fit into the clip, half of it at either end.
        """
        durations = torch.tensor(clip.durations, dtype=torch.float64) * self.mel_spec.sample_rate
        durations = durations / self.mel_spec.hop_length
        durations[0] += 0.5
        durations[-1] += frames - durations.sum()
        if durations[-1] < 0:
            raise UserError(clip.id, "has durations that do not add up to its length", "prepare the data again")
        return durations

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Pad mels, symbols, durations and pitch with zeros."""

        def padded(tensors: Sequence[Tensor]) -> Tensor:
            return pad(tensors).values

        return collate(items, dict.fromkeys(("mel", "tokens", "durations", "pitch"), padded))


class SentenceStream(LengthBuckets):
    """An endless, stateless stream of sentences; items of a batch are of similar length.

    Attributes:
        manifest: of the sentences.
        samples: mean length, at the mel's rate.
        from_start: sentences are whole.
    """

    from_start = True

    def __init__(self, sentences: SentenceDataset, batch_size: int, seed: int):
        super().__init__(sentences, sentences.lengths, batch_size, seed=seed)
        self.manifest, self.collate = sentences.manifest, sentences.collate
        self.samples = float(np.mean(sentences.lengths)) * sentences.mel_spec.sample_rate


class SentenceData(ManifestData):
    """Whole sentences for an acoustic model.

    Args:
        path, batch_size, workers, validation_clips, seed, corpora, clip: as of `ManifestData`.
        mel_spec: of the mels.
        symbols: table of the phonemes.
        speakers: of the model; clips of others are left out.
        max_seconds: longer clips are left out of training.
    """

    def __init__(
        self,
        path: str,
        mel_spec: MelSpec,
        symbols: SymbolTable,
        speakers: Sequence[str],
        batch_size: Positive,
        workers: NonNegative = 0,
        validation_clips: Positive = 32,
        seed: NonNegative = 0,
        corpora: str = "hibari",
        clip: str | None = None,
        max_seconds: PositiveFloat = 12.0,
    ):
        super().__init__(path, mel_spec.sample_rate, 1, batch_size, workers, validation_clips, seed, corpora, clip)
        self.mel_spec, self.symbols, self.speakers = mel_spec, symbols, tuple(speakers)
        self.max_seconds = max_seconds

    def read(self) -> None:
        """Build `crops` to train on and `held_out` to validate on."""
        manifest = self.manifest()
        self.crops = SentenceStream(self._sentences(manifest, "train"), self.batch_size, self.seed)
        self.held_out = self._sentences(manifest, "validation")
        self.crop_samples = round(self.crops.samples)

    def check(self, speakers: Sequence[str], symbols: SymbolTable) -> None:
        """Check that every training clip has a speaker and symbols of the model.

        Raises:
            UserError: one has another.
        """
        for clip in self.crops.manifest.clips:
            if clip.speaker not in speakers:
                fix = "add it to model.speaker.speakers"
                raise UserError(clip.id, f"has the speaker {clip.speaker!r}, which the model does not have", fix)
            if unknown := symbols.unknown(clip.phonemes):
                fix = f"use the symbols {symbols.symbols}"
                raise UserError(clip.id, f"has the phonemes {' '.join(unknown)}, unknown to {symbols.name}", fix)

    def val_dataloader(self) -> DataLoader:
        """Batches of held-out sentences, evenly chosen and sorted by length."""
        count = min(self.validation_clips, len(self.held_out))
        chosen = np.linspace(0, len(self.held_out) - 1, count).round().astype(int)
        order = sorted({int(index) for index in chosen}, key=lambda index: self.held_out.lengths[index])
        return DataLoader(Subset(self.held_out, order), self.batch_size, collate_fn=self.held_out.collate)

    def _sentences(self, manifest: Manifest, split: str) -> SentenceDataset:
        chosen = self._split(manifest, split)
        clips = tuple(
            clip for clip in chosen.clips if clip.speaker in self.speakers and clip.seconds <= self.max_seconds
        )
        if not clips:
            known = ", ".join(sorted({clip.speaker for clip in chosen.clips}))
            raise UserError(f"{self.path}", "has no clips of data.speakers", f"choose among {known}")
        return SentenceDataset(
            Manifest(clips, chosen.root, chosen.split_by), self.mel_spec, self.symbols, self.speakers
        )
