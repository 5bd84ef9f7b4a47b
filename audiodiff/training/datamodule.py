"""From a prepared manifest to batches."""

import shlex
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from audiodiff.data.audit import NAME as AUDIT
from audiodiff.data.audit import Audit
from audiodiff.data.corpora.tones import write_tones
from audiodiff.data.dataset import ClipDataset, CropDataset, DrawSampler
from audiodiff.data.manifest import NAME, Manifest
from audiodiff.data.preparation import default_folder, prepare
from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.ranges import NonNegative, Positive, PositiveFloat


class ManifestData(lightning.LightningDataModule):
    """Random crops of the training clips as one endless epoch; whole held-out clips to validate on.

    Args:
        path: a manifest file, or the folder that `audiodiff prepare` made.
        sample_rate: Hz.
        crop_samples: length of a training crop.
        batch_size: crops a step, of which each device takes an equal share.
        workers: processes that read crops; 0 reads in the training process.
        validation_clips: held-out clips that validation sees, the first of the split.
        seed: of the stream of crops.
        corpora: that are prepared there where nothing else is said.
        tones: make synthetic tones at `path` where nothing is: for smoke runs, which need no prepared data.

    Attributes:
        codec_training: the training record of the codec whose latents the data is; empty where it is no latents.
    """

    def __init__(
        self,
        path: str,
        sample_rate: Positive,
        crop_samples: Positive,
        batch_size: Positive,
        workers: NonNegative = 0,
        validation_clips: Positive = 8,
        seed: NonNegative = 0,
        corpora: str = "asterisk-en",
        tones: bool = False,
    ):
        super().__init__()
        self.codec_training: dict = {}
        self.corpora = corpora
        self.path, self.sample_rate, self.crop_samples, self.batch_size = path, sample_rate, crop_samples, batch_size
        self.workers, self.validation_clips, self.seed, self.tones = workers, validation_clips, seed, tones

    def manifest(self) -> Manifest:
        """Those of the prepared clips that are trained and validated on: all; raises as `prepared`."""
        return self.prepared()

    def prepared(self) -> Manifest:
        """The prepared data.

        Raises:
            UserError: nothing is prepared there; names the command that prepares it.
        """
        if self.tones:
            return self._tones()
        if not Path(self.path).exists():
            command = shlex.join(["audiodiff", "prepare", *self.corpora.split(), "--out", str(self.path)])
            raise UserError(
                self.path, "no data is prepared there", f"run `{command}`, or set data.path to a folder of recordings"
            )
        return Manifest.load(self.path)

    def _tones(self) -> Manifest:
        """The tones, which the first of several processes makes, or whatever is prepared there."""
        path = Path(self.path)
        with folder_lock(path, wait=True):
            found = {file.name for file in path.iterdir() if not file.name.startswith(".")} if path.is_dir() else set()
            if path.is_file() or found - {"tones"}:
                return Manifest.load(path)
            return write_tones(path, labels=getattr(self, "labels", ()))

    def setup(self, stage: str) -> None:
        """Read what there is, before the first of fitting and validating."""
        if not hasattr(self, "crops"):
            self.read()

    def read(self) -> None:
        """Read the manifest; nothing is loaded yet."""
        manifest = self.manifest()
        held_out = manifest.with_splits("validation")
        held_out = held_out if len(held_out) else manifest
        self.crops = CropDataset(manifest.with_splits("train"), self.sample_rate, self.crop_samples, self.seed)
        first = Manifest(held_out.clips[: self.validation_clips], held_out.root, held_out.split_by)
        self.held_out = ClipDataset(first, self.sample_rate)

    def train_dataloader(self) -> DataLoader:
        """This rank's share of batches, from where the run stands; without a length, since the stream has none.

        Raises:
            UserError: a batch that ranks cannot share evenly.
        """
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        if self.batch_size % ranks:
            fix = f"set data.batch_size={-(-self.batch_size // ranks) * ranks}"
            raise UserError(f"data.batch_size {self.batch_size}", f"is no multiple of the {ranks} devices", fix)
        return DataLoader(
            self.crops,
            batch_size=self.batch_size // ranks,
            sampler=DrawSampler(self.trainer.lightning_module.next_draw + rank, ranks),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            worker_init_fn=_single_thread,
            drop_last=True,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader:
        """Held-out clips one by one, cut to whole conditioning frames by the model."""
        return DataLoader(self.held_out, batch_size=1)


class AudioData(ManifestData):
    """Random crops for a model without a mel, in training and in validation.

    Args:
        path, sample_rate, crop_samples, batch_size, workers, validation_clips, seed: as for `ManifestData`; validation
            sees one crop of each clip.
        channels: 1, or 2 for stereo; mono files are heard on both sides.
        from_start: crops begin where their clips begin, as one-shots do.
        labels: that are told apart.
        scalars: that clips are told by, of "seconds" and "tempo".
        others: whether clips that have none of the labels are there as well.
        longest_seconds: clips beyond are left out.
    """

    def __init__(
        self,
        *arguments,
        channels: Literal[1, 2] = 1,
        from_start: bool = False,
        labels: Sequence[str] = (),
        scalars: Sequence[str] = (),
        others: bool = False,
        longest_seconds: PositiveFloat | None = None,
        **options,
    ):
        super().__init__(*arguments, **options)
        self.channels, self.from_start = channels, from_start
        self.labels, self.scalars, self.others = tuple(labels), tuple(scalars), others
        self.longest_seconds = longest_seconds

    def prepared(self) -> Manifest:
        """The prepared data; a folder of audio that is not prepared yet is prepared, below `data/`.

        Raises:
            UserError: as `ManifestData.prepared`, or of the folder nothing can be used.
        """
        folder = Path(self.path)
        if not self.tones and folder.is_dir() and not (folder / NAME).exists():
            self.path = str(default_folder(folder))
            print(f"preparing {folder} in {self.path}")
            manifest = prepare([f"music:{folder}"], self.path, progress=tqdm)
            for kind in ("unreadable", "left out"):
                if found := Audit.load(manifest.root).findings.get(kind):
                    (name, why), count = found[0], len(found)
                    told = f"{count} recording{'s' * (count > 1)} {kind}, such as {name}: {why}"
                    warnings.warn(f"{folder}: {told} (all in {manifest.root / AUDIT})", stacklevel=2)
            return manifest
        return super().prepared()

    def manifest(self) -> Manifest:
        """Those of the prepared clips that are asked for.

        Raises:
            UserError: nothing is prepared, or none of it is asked for; names what there is.
        """
        whole = self.prepared()
        there = {label for clip in whole.clips for label in clip.labels}
        told = f"labels there: {', '.join(sorted(there)) or 'none'}"
        if missing := [label for label in self.labels if label not in there]:
            raise UserError(self.path, f"holds no clip of data.labels {', '.join(missing)}", told)
        kept = tuple(
            clip
            for clip in (whole if self.others else whole.with_labels(*self.labels)).clips
            if self.longest_seconds is None or clip.seconds <= self.longest_seconds
        )
        if not kept:
            raise UserError(self.path, "holds no clip of these labels and lengths", told)
        return replace(whole, clips=kept)

    def read(self) -> None:
        """Read the manifest; nothing is loaded yet.

        Warns:
            UserWarning: recordings are shorter than a crop.
        """
        manifest = self.manifest()
        if not len(manifest.with_splits("train")):
            raise UserError(self.path, "holds no clip to train on", "prepare more recordings, or ask for more labels")
        seconds = self.crop_samples / self.sample_rate
        short = sum(clip.seconds < seconds for clip in manifest.clips)
        if short and not self.from_start:
            problem = f"{short} of {len(manifest)} recordings are shorter than a crop of {seconds:.1f} s"
            warnings.warn(f"{self.path}: {problem}, and silence follows them: set data.crop_samples", stacklevel=2)
        held_out = manifest.with_splits("validation")
        if not len(held_out):
            warnings.warn(f"{self.path} holds nothing to validate on: training clips are taken", stacklevel=2)
        self.crops = self._crops(manifest.with_splits("train"))
        self.held_out = self._crops(held_out if len(held_out) else manifest)

    def _crops(self, manifest: Manifest) -> CropDataset:
        return CropDataset(*self._crop_arguments(manifest))

    def _crop_arguments(self, manifest: Manifest) -> tuple:
        told = (self.channels, self.from_start, self.labels, self.scalars)
        return (manifest, self.sample_rate, self.crop_samples, self.seed, *told)

    def validation_crops(self) -> Subset:
        """One crop of each of `validation_clips` held-out clips, the same every time."""
        return Subset(self.held_out, self.held_out.one_of_each(self.validation_clips))

    def val_dataloader(self) -> DataLoader:
        """The crops that are validated on."""
        return DataLoader(self.validation_crops(), batch_size=self.batch_size)


class OneClipData(ManifestData):
    """One clip, over and over: what a model must be able to learn by heart.

    Args:
        path, sample_rate, crop_samples, batch_size, workers, validation_clips, seed: as for `ManifestData`.
        clip: its id; empty for the first training clip that is at least as long as a crop.
    """

    def __init__(
        self, path: str, sample_rate: Positive, crop_samples: Positive, batch_size: Positive, clip: str = "", **options
    ):
        super().__init__(path, sample_rate, crop_samples, batch_size, **options)
        self.clip = clip

    def manifest(self) -> Manifest:
        """The chosen clip alone, for training and for validation."""
        whole = self.prepared()
        long_enough = [
            c for c in whole.clips if c.split == "train" and c.seconds * self.sample_rate >= self.crop_samples
        ]
        chosen = [c for c in whole.clips if c.id == self.clip] if self.clip else long_enough[:1]
        if not chosen:
            raise UserError("data.clip", f"no clip {self.clip!r} in {self.path}", "name one from its manifest.jsonl")
        return Manifest(tuple(chosen), whole.root, whole.split_by)


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)
