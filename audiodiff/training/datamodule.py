"""Data modules: from a prepared manifest to batches."""

import logging
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.data.audit import NAME as AUDIT
from audiodiff.data.audit import Audit
from audiodiff.data.augmentation import Augmentation
from audiodiff.data.balance import caption_weights
from audiodiff.data.bandwidth import with_bandwidth
from audiodiff.data.corpora.registry import CORPORA
from audiodiff.data.dataset import ClipDataset, CropDataset, DrawSampler, crop_counts
from audiodiff.data.manifest import NAME, Clip, Manifest
from audiodiff.data.preparation import default_folder, prepare
from audiodiff.data.selection import first_minutes, without_duplicates
from audiodiff.errors import UserError
from audiodiff.ranges import NonNegative, Positive, PositiveFloat
from audiodiff.training.replay import parse_replay, replay_manifest

logger = logging.getLogger(__name__)


class ManifestData(lightning.LightningDataModule):
    """Random mono crops of the training clips as one endless epoch; whole held-out clips for validation.

    Args:
        path: a manifest file, or the folder that `audiodiff prepare` wrote; or several of them.
        sample_rate: Hz.
        crop_samples: length of a training crop.
        batch_size: crops per step, shared evenly by the devices.
        workers: processes that read crops; 0 reads in the training process.
        validation_clips: number of held-out clips, the first of their split; of several manifests, evenly chosen.
        seed: of the stream of crops.
        corpora: to suggest in the error when nothing is prepared at `path`.
        clip: id of a single clip to train and validate on; empty: the first training clip that is at least as long as
            a crop; None: all clips.
        augmentation: random changes of the training crops; None: as recorded.
        minutes: of training clips to use, chosen by a hash of their ids; None: all.
        min_bandwidth: frequency in Hz that recordings must reach (`data.bandwidth`); others are left out. None: all.

    Attributes:
        codec_training: training record of the codec whose latents the data is; empty for waveforms.
        conditioners: those of the model, without weights; to be set before `setup`.
    """

    def __init__(
        self,
        path: str | Sequence[str],
        sample_rate: Positive,
        crop_samples: Positive,
        batch_size: Positive,
        workers: NonNegative = 0,
        validation_clips: Positive = 8,
        seed: NonNegative = 0,
        corpora: str = "asterisk-en",
        clip: str | None = None,
        augmentation: Augmentation | None = None,
        minutes: PositiveFloat | None = None,
        min_bandwidth: PositiveFloat | None = None,
    ):
        super().__init__()
        self.minutes, self.min_bandwidth = minutes, min_bandwidth
        self.paths = [str(path)] if isinstance(path, str | Path) else [str(one) for one in path]
        self.sample_rate, self.crop_samples, self.batch_size = sample_rate, crop_samples, batch_size
        self.workers, self.validation_clips, self.seed = workers, validation_clips, seed
        self.corpora, self.clip, self.augmentation = corpora, clip, augmentation
        self.codec_training: dict = {}
        self._prepared: Manifest | None = None
        self.conditioners: Sequence[Conditioner] = ()

    @property
    def path(self) -> str:
        """The path, or all of them."""
        return ", ".join(self.paths)

    def prepared(self) -> Manifest:
        """The manifest of the prepared data, loaded once: a run records what it trains on, whatever is prepared later.

        Raises:
            UserError: nothing is prepared; names the command that prepares it.
        """
        if self._prepared is None:
            parts = self._selected([self._load(number) for number in range(len(self.paths))])
            wide = parts if self.min_bandwidth is None else with_bandwidth(parts, self.min_bandwidth)
            joined = Manifest.join(wide)
            self._prepared = joined if self.minutes is None else first_minutes(joined, self.minutes)
        return self._prepared

    def _selected(self, parts: list[Manifest]) -> list[Manifest]:
        """The clips of the manifests of all paths that are used."""
        return parts

    def _load(self, number: int) -> Manifest:
        """The manifest of one of the paths."""
        path = self.paths[number]
        if not Path(path).exists():
            corpora = [Path(path).name] if Path(path).name in CORPORA else self.corpora.split()
            command = shlex.join(["audiodiff", "prepare", *corpora, "--out", path])
            fix = f"run `{command}`, or set data.path to a folder of recordings"
            raise UserError(path, "no data is prepared there", fix)
        return Manifest.load(path)

    def manifest(self) -> Manifest:
        """Load the manifest and select the clips to train and validate on.

        Raises:
            UserError: nothing is prepared, or there is no such clip.
        """
        return self._with_clip(self.prepared())

    def setup(self, stage: str) -> None:
        """Build the datasets once; no audio is read yet."""
        if not hasattr(self, "crops"):
            self.read()

    def read(self) -> None:
        """Build `crops` to train on and `held_out` to validate on.

        Raises:
            UserError: `mixing` is on, which needs captions.
        """
        if self.augmentation is not None and self.augmentation.mixing is not None:
            raise UserError("data.augmentation.mixing", "needs captions, which name both sounds", "set it to null")
        manifest = self.manifest()
        crop = (self.sample_rate, self.crop_samples, self.seed)
        changes = {"conditioners": self.conditioners, "augmentation": self.augmentation}
        self.crops = CropDataset(self._split(manifest, "train"), *crop, **changes)
        held_out = self._split(manifest, "validation")
        step = max(len(held_out) // self.validation_clips, 1) if len(self.paths) > 1 else 1
        chosen = replace(held_out, clips=held_out.clips[::step][: self.validation_clips])
        self.held_out = ClipDataset(chosen, self.sample_rate)

    def train_dataloader(self) -> DataLoader:
        """Endless batches of this rank, from the run's next draw on.

        Raises:
            UserError: the ranks cannot share a batch evenly.
        """
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        if self.batch_size % ranks:
            fix = f"set data.batch_size={-(-self.batch_size // ranks) * ranks}"
            raise UserError(f"data.batch_size {self.batch_size}", f"is not a multiple of the {ranks} devices", fix)
        return DataLoader(
            self.crops,
            batch_size=self.batch_size // ranks,
            sampler=DrawSampler(self.trainer.lightning_module.next_draw + rank, ranks),
            collate_fn=self.crops.collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            worker_init_fn=single_thread,
            drop_last=True,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader:
        """Whole held-out clips, one per batch."""
        return DataLoader(self.held_out, batch_size=1)

    def _with_clip(self, manifest: Manifest) -> Manifest:
        if self.clip is None:
            return manifest
        chosen = [clip for clip in manifest.clips if clip.id == self.clip] if self.clip else self._first_clip(manifest)
        if not chosen:
            raise UserError("data.clip", f"no clip {self.clip!r} in {self.path}", "set an id of its manifest.jsonl")
        return replace(manifest, clips=tuple(chosen))

    def _first_clip(self, manifest: Manifest) -> Sequence[Clip]:
        """The clip to train on where `clip` is empty, if there is one: the first that is long enough."""
        training = manifest.with_splits("train").clips
        return [clip for clip in training if clip.seconds * self.sample_rate >= self.crop_samples][:1]

    def _split(self, manifest: Manifest, name: str) -> Manifest:
        """The clips of a split; all clips of a single-clip run, and for validation where none are held out."""
        split = manifest.with_splits(name)
        return manifest if self.clip is not None or (name == "validation" and not len(split)) else split


class AudioData(ManifestData):
    """Random crops for a model without a mel, for training and validation.

    Args:
        path, sample_rate, crop_samples, batch_size, workers, validation_clips, seed, corpora, clip, augmentation,
            minutes, min_bandwidth: as for `ManifestData`; validation uses one crop of each clip.
        channels: 1, or 2 for stereo; mono files are duplicated.
        from_start: whether crops start where their clips start, as one-shots do.
        labels: that the model is conditioned on; other clips are left out.
        scalars: that the model is conditioned on, of "seconds" and "tempo".
        include_unlabeled: whether to include clips with none of the labels.
        max_seconds: longer clips are left out.
        caption: of every clip, in place of its own; None: its own.
        replay: "base:0.3" or "FOLDER:0.3", share of the crops that are of what a base model knows (`training.replay`).
        replay_prompts, replay_clips: of clips that the base generates, and how many.
        base: the model that generates them.
        balance: "caption" to draw each word of the training captions about equally often (`data.balance`); None: clips
            by their lengths.
        unique: whether to leave out training clips that are duplicates or near-duplicates of a held-out or of an
            earlier training clip (`data.selection.without_duplicates`).
    """

    def __init__(
        self,
        *arguments,
        channels: Literal[1, 2] = 1,
        from_start: bool = False,
        labels: Sequence[str] = (),
        scalars: Sequence[str] = (),
        include_unlabeled: bool = False,
        max_seconds: PositiveFloat | None = None,
        balance: Literal["caption"] | None = None,
        caption: str | None = None,
        replay: str | None = None,
        replay_prompts: Sequence[str] = (),
        replay_clips: Positive = 64,
        base: str | None = None,
        unique: bool = False,
        **options,
    ):
        super().__init__(*arguments, **options)
        self.unique = unique
        self.channels, self.from_start = channels, from_start
        self.labels, self.scalars, self.include_unlabeled = tuple(labels), tuple(scalars), include_unlabeled
        self.max_seconds, self.balance, self.caption = max_seconds, balance, caption
        self.replay = None if replay is None else parse_replay(replay)
        self.replay_prompts, self.replay_clips, self.base = tuple(replay_prompts), replay_clips, base
        self.base_held_out: CropDataset | None = None

    def prepared(self) -> Manifest:
        """As of `ManifestData`, with the caption of all clips."""
        if self._prepared is None and self.caption is not None:
            found = super().prepared()
            clips = (replace(clip, caption=self.caption, caption_parts=()) for clip in found.clips)
            self._prepared = replace(found, clips=tuple(clips))
        return super().prepared()

    def _load(self, number: int) -> Manifest:
        """The manifest of one of the paths; a folder of audio without one is prepared first, below `data/`.

        Raises:
            UserError: as `ManifestData.prepared`, or no file of the folder is usable.
        """
        folder = Path(self.paths[number])
        if not folder.is_dir() or (folder / NAME).exists():
            return super()._load(number)
        self.paths[number] = str(default_folder(folder))
        logger.info("preparing %s in %s", folder, self.paths[number])
        manifest = prepare([f"music:{folder}"], self.paths[number], progress=tqdm)
        for kind in ("unreadable", "left out"):
            if found := Audit.load(manifest.root).findings.get(kind):
                (name, why), count = found[0], len(found)
                summary = f"{count} recording{'s' * (count > 1)} {kind}, such as {name}: {why}"
                warnings.warn(f"{folder}: {summary} (all in {manifest.root / AUDIT})", stacklevel=2)
        return manifest

    def _selected(self, parts: list[Manifest]) -> list[Manifest]:
        """Without duplicates, on request; raises as `without_duplicates`."""
        if not self.unique:
            return parts
        found, clips = without_duplicates(parts), sum(map(len, parts))
        logger.info("%s: %d duplicates left out of %d clips", self.path, clips - sum(map(len, found)), clips)
        return found

    def manifest(self) -> Manifest:
        """Load the manifest and select the clips by label and length.

        Raises:
            UserError: nothing is prepared or selected; names the labels of the data.
        """
        whole = self.prepared()
        known = {label for clip in whole.clips for label in clip.labels}
        fix = f"choose among its labels: {', '.join(sorted(known)) or 'none'}"
        if missing := [label for label in self.labels if label not in known]:
            raise UserError(self.path, f"has no clip of data.labels {', '.join(missing)}", fix)
        selected = whole if self.include_unlabeled else whole.with_labels(*self.labels)
        limit = float("inf") if self.max_seconds is None else self.max_seconds
        if not (clips := tuple(clip for clip in selected.clips if clip.seconds <= limit)):
            raise UserError(self.path, "has no clip of these labels and lengths", fix)
        return self._with_clip(replace(whole, clips=clips))

    def read(self) -> None:
        """Build `crops` to train on and `held_out` to validate on.

        Warns:
            UserWarning: recordings are shorter than a crop, or none are held out.
        """
        self._check_augmentation()
        manifest = self.manifest()
        if self.clip is None and not len(manifest.with_splits("train")):
            raise UserError(self.path, "has no clip to train on", "prepare more recordings, or set more data.labels")
        seconds = self.crop_samples / self.sample_rate
        short = sum(clip.seconds < seconds for clip in manifest.clips)
        if short and not self.from_start:
            problem = f"{short} of {len(manifest)} recordings are shorter than a crop of {seconds:.1f} s"
            warnings.warn(f"{self.path}: {problem} and padded with silence: set data.crop_samples", stacklevel=2)
        if self.clip is None and not len(manifest.with_splits("validation")):
            warnings.warn(f"{self.path} has no validation clips: training clips are used instead", stacklevel=2)
        training, held_out = self._split(manifest, "train"), self._split(manifest, "validation")
        weights, joined = self._weights(training), training
        if self.replay is not None:
            replayed = self.replayed()
            if self.replay.share:
                joined = Manifest.join([training, replayed.with_splits("train")])
                weights = self._mixed(training, weights, len(joined) - len(training))
            self.base_held_out = self._crops(replayed.with_splits("validation"))
        self.crops = self._crops(joined, augmentation=self.augmentation, weights=weights)
        # Without parts a caption has its canonical wording.
        clips = tuple(replace(clip, caption_parts=()) for clip in held_out.clips)
        self.held_out = self._crops(replace(held_out, clips=clips))

    def _check_augmentation(self) -> None:
        """Refuse mixing where a condition describes one of the clips, and delay where beats are a condition."""
        if self.augmentation is None:
            return
        names = [one.name for one in self.conditioners if not one.empty]
        others = [name for name in names if name not in ("prompt", "scalars")]
        others += [name for name in self.scalars if name != "seconds"]
        if self.augmentation.mixing is not None and others:
            problem = f"would leave {', '.join(others)} of one of the two sounds"
            raise UserError("data.augmentation.mixing", problem, "set it to null")
        if self.augmentation.delay is not None and "beats" in names:
            raise UserError("data.augmentation.delay", "would move the sound and not its beat times", "set it to null")

    def replayed(self) -> Manifest:
        """The clips of the replay; generated ones are kept below the folder of the data.

        Raises:
            UserError: none are held out, or as `replay_manifest`.
        """
        assert self.replay is not None
        root = self.prepared().root
        found = replay_manifest(self.replay.source, self.base, root, self.replay_prompts, self.replay_clips)
        if not (len(found.with_splits("train")) and len(found.with_splits("validation"))):
            problem = "needs clips to train on and held-out ones"
            raise UserError(f"data.replay {self.replay.source}", problem, "use more clips, data.replay_clips=64")
        return found

    def base_batch(self) -> dict | None:
        """Crops of at most 32 held-out clips of the replay, the same every time; None without a replay."""
        if self.base_held_out is None:
            return None
        draws = self.base_held_out.one_draw_per_clip(32)
        return self.base_held_out.collate([self.base_held_out[draw] for draw in draws])

    def _mixed(self, own: Manifest, weights: np.ndarray | None, others: int) -> np.ndarray:
        """Weights of clips and of others after them, which get the share of the replay."""
        assert self.replay is not None
        if weights is None:
            weights = crop_counts(own, self.sample_rate, self.crop_samples, self.from_start)
        mine = np.asarray(weights, np.float64) / np.sum(weights) * (1 - self.replay.share)
        return np.concatenate([mine, np.full(others, self.replay.share / others)])

    def _weights(self, manifest: Manifest) -> np.ndarray | None:
        """The weights of clips to train on; None if they are not balanced.

        Raises:
            UserError: they are to be balanced by captions, and there are none.
        """
        if self.balance is None:
            return None
        captions = [clip.caption for clip in manifest.clips]
        if not any(captions):
            fix = "set data.balance=null, or prepare data with captions, such as `audiodiff prepare sounds`"
            raise UserError("data.balance=caption", f"{self.path} has no captions", fix)
        return caption_weights(captions, crop_counts(manifest, self.sample_rate, self.crop_samples, self.from_start))

    def _crops(self, manifest: Manifest, dataset: type[CropDataset] = CropDataset, **options) -> CropDataset:
        crop = (manifest, self.sample_rate, self.crop_samples, self.seed, self.channels, self.from_start)
        return dataset(*crop, self.conditioners, **options)

    def validation_crops(self) -> Subset:
        """One crop of each of `validation_clips` held-out clips, the same every time."""
        return Subset(self.held_out, self.held_out.one_draw_per_clip(self.validation_clips))

    def val_dataloader(self) -> DataLoader:
        """Batches of the validation crops."""
        return DataLoader(self.validation_crops(), batch_size=self.batch_size, collate_fn=self.held_out.collate)


def single_thread(worker: int) -> None:
    """Initialize a worker process: training already uses all cores."""
    torch.set_num_threads(1)
