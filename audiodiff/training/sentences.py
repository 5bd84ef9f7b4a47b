"""Data module of whole sentences, for models of text."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import DataLoader, Sampler, Subset

from audiodiff.audio.mel import MelSpec
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.sentences import SentenceDataset, SentenceStream
from audiodiff.errors import UserError
from audiodiff.ranges import NonNegative, NonNegativeFloat, Positive, PositiveFloat
from audiodiff.text.symbols import SymbolTable
from audiodiff.training.datamodule import ManifestData, single_thread


class SentenceData(ManifestData):
    """Whole sentences for an acoustic model.

    Args:
        path, workers, validation_clips, seed, corpora, clip: as of `ManifestData`.
        mel_spec: of the mels.
        symbols: table of the phonemes.
        speakers: of the model; clips of others are left out.
        crop_samples: longest sentence to train on, in samples.
        batch_seconds: audio of a batch, padding included, so that every step takes about as long.
        batch_size: largest number of sentences of a batch.
        balance: how far speakers with fewer sentences are repeated (`data.sentences.SentenceStream`).
    """

    def __init__(
        self,
        path: str | Sequence[str],
        mel_spec: MelSpec,
        symbols: SymbolTable,
        speakers: Sequence[str],
        batch_seconds: PositiveFloat = 40.0,
        batch_size: Positive = 64,
        workers: NonNegative = 0,
        validation_clips: Positive = 32,
        seed: NonNegative = 0,
        corpora: str = "hibari",
        clip: str | None = None,
        crop_samples: Positive = 288000,
        balance: NonNegativeFloat = 0.5,
    ):
        rate = mel_spec.sample_rate
        super().__init__(path, rate, crop_samples, batch_size, workers, validation_clips, seed, corpora, clip)
        self.mel_spec, self.symbols, self.speakers = mel_spec, symbols, tuple(speakers)
        self.batch_seconds, self.balance = batch_seconds, balance

    def manifest(self) -> Manifest:
        """Load the manifest and select the clips by speaker, length and `clip`.

        Raises:
            UserError: nothing is prepared or selected; names the speakers of the data.
        """
        whole = self.prepared()
        of_speakers = [clip for clip in whole.clips if clip.speaker in self.speakers]
        if not of_speakers:
            known = ", ".join(sorted({clip.speaker for clip in whole.clips}))
            raise UserError(self.path, "has no clips of data.speakers", f"choose among {known}")
        longest = self.crop_samples / self.sample_rate
        clips = tuple(clip for clip in of_speakers if clip.seconds <= longest)
        if not clips:
            raise UserError(self.path, f"has no clips of up to {longest:g} s", "set data.crop_samples to more")
        return self._with_clip(Manifest(clips, whole.root, whole.split_by))

    def read(self) -> None:
        """Build `crops` to train on and `held_out` to validate on."""
        manifest = self.manifest()
        sentences = self._sentences(manifest, "train")
        self.crops = SentenceStream(sentences, self.batch_seconds, self.batch_size, self.seed, self.balance)
        self.held_out = self._sentences(manifest, "validation")

    def check(self, speakers: Sequence[str], symbols: SymbolTable) -> None:
        """Check that every training clip has a speaker and symbols of the model.

        Raises:
            UserError: one has another.
        """
        for clip in self.crops.manifest.clips:
            if clip.speaker not in speakers:
                fix = "add it to model.speaker.speakers, or set adapter.speaker"
                raise UserError(clip.id, f"has the speaker {clip.speaker!r}, which the model does not have", fix)
            if unknown := symbols.unknown(clip.phonemes):
                fix = f"use the symbols {symbols.symbols}"
                raise UserError(clip.id, f"has the phonemes {' '.join(unknown)}, unknown to {symbols.name}", fix)

    def train_dataloader(self) -> DataLoader:
        """Endless batches from the run's next draw on.

        Raises:
            UserError: there are several devices.
        """
        if self.trainer.world_size > 1:
            raise UserError("trainer.devices", "sentences are batched for one device", "set trainer.devices=1")
        return DataLoader(
            self.crops,
            batch_sampler=_Batches(self.crops, self.trainer.lightning_module.next_draw),
            collate_fn=self.crops.collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            worker_init_fn=single_thread,
        )

    def validation_numbers(self) -> list[int]:
        """Numbers of the held-out sentences to validate on: evenly chosen, so that all speakers are among them."""
        count = min(self.validation_clips, len(self.held_out))
        return sorted({int(number) for number in np.linspace(0, len(self.held_out) - 1, count).round()})

    def val_dataloader(self) -> DataLoader:
        """Batches of held-out sentences, sorted by length."""
        order = sorted(self.validation_numbers(), key=lambda number: self.held_out.lengths[number])
        return DataLoader(Subset(self.held_out, order), min(self.batch_size, 8), collate_fn=self.held_out.collate)

    def _first_clip(self, manifest: Manifest) -> Sequence[Clip]:
        return manifest.clips[:1]

    def _sentences(self, manifest: Manifest, split: str) -> SentenceDataset:
        chosen = self._split(manifest, split)
        return SentenceDataset(chosen, self.mel_spec, self.symbols, self.conditioners, self.seed)


class _Batches(Sampler[list[int]]):
    """The batches of a stream from a draw on."""

    def __init__(self, stream: SentenceStream, first: int):
        self.stream, self.first = stream, first

    def __iter__(self) -> Iterator[list[int]]:
        return self.stream.batches(self.first)
