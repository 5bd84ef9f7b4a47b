"""Data of subjects: crops, each with an embedding of other clips of the same subject.

A subject is what has one sound: the clips of one speaker, pack or corpus with one label, noun of their captions, or
caption. Some subjects are held out, all of their clips, and are what is validated on: a model that reads references is
good if it serves subjects that it was never trained on.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.conditioners.conditioner import without_weights
from audiodiff.data.captions.caption import Caption
from audiodiff.data.dataset import CropDataset, read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.files import atomic_write, folder_lock
from audiodiff.models.adapted import weights_hash
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.hypernetwork import MAX_SECONDS, mean_embedding
from audiodiff.ranges import Positive, UnitInterval
from audiodiff.training.datamodule import AudioData, ManifestData
from audiodiff.training.latents import LatentCrops, LatentData

_REFERENCES = 5  # random stream of the reference clips, after those of `data.dataset`
_HELD_OUT_OF = 2**32


def subject_of(clip: Clip) -> str:
    """The subject of a clip; "" if it is unknown."""
    nouns = Caption(clip.caption, clip.caption_parts).of_role("noun")
    what = clip.label or " ".join(nouns) or clip.caption
    return f"{clip.speaker}: {what}" if what else ""


def is_held_out(subject: str, share: float) -> bool:
    """Whether a subject is held out, by its name alone, so that it does not depend on what other subjects there are."""
    return clip_seed(0, f"subject {subject}") % _HELD_OUT_OF < share * _HELD_OUT_OF


class SubjectCrops(CropDataset):
    """As `CropDataset`, with `reference` (E,): the embedding of other clips of the subject.

    Args:
        arguments, options: those of `CropDataset`.
        embeddings: (E,) unit vector of each clip, by its id.
        subjects: of each clip, by its id.
        references: most clips of a reference, a number at random in training.
    """

    def __init__(
        self,
        *arguments,
        embeddings: Mapping[str, Tensor],
        subjects: Mapping[str, str],
        references: int,
        **options,
    ):
        super().__init__(*arguments, **options)
        self.embeddings, self.references = embeddings, references
        self.subjects: Mapping[str, str] = subjects
        self._members: dict[str, list[str]] = defaultdict(list)
        for clip in self.manifest.clips:
            self._members[subjects[clip.id]].append(clip.id)

    def metadata(self, draw: int, start: int, valid: int) -> dict:
        """That of `CropDataset`, and the reference, a pure function of the draw."""
        clip = self.clip(draw)
        others = [one for one in self._members[self.subjects[clip.id]] if one != clip.id]
        random = np.random.default_rng((self.seed, _REFERENCES, draw))
        count = int(random.integers(1, min(self.references, len(others)) + 1))
        chosen = [others[place] for place in random.choice(len(others), count, replace=False)]
        reference = mean_embedding(torch.stack([self.embeddings[one] for one in chosen]))
        return super().metadata(draw, start, valid) | {"reference": reference}


class SubjectLatentCrops(SubjectCrops, LatentCrops):
    """Crops of latents with a reference."""


class SubjectAudio(AudioData):
    """Crops of waveforms for a hypernetwork, with references.

    Args:
        arguments, options: those of `AudioData`; `caption` is that of all clips, so that the reference alone says what
            they are.
        generator: the base model, whose conditions the crops have.
        embedder: the audio-text pair that embeds clips.
        min_clips: least clips of a subject; those with fewer are left out.
        held_out: share of the subjects that are validated on.
        references: most clips of a reference.

    Raises:
        UserError: a replay, a single clip or labels, which leave clips without others of their subject.
    """

    CROPS: type[SubjectCrops] = SubjectCrops

    def __init__(
        self,
        *arguments,
        generator: str,
        embedder: str = "audio-text",
        min_clips: Positive = 3,
        held_out: UnitInterval = 0.15,
        references: Positive = 4,
        **options,
    ):
        super().__init__(*arguments, **options)
        for name, given in (("replay", self.replay), ("clip", self.clip), ("labels", self.labels or None)):
            if given is not None:
                problem = "is not for data with references, which are other clips of a subject"
                raise UserError(f"data.{name}", problem, f"set data.{name}=null")
        self.generator, self.embedder = generator, embedder
        self.min_clips, self.held_out_share, self.references = max(min_clips, 2), held_out, references
        self.subjects: dict[str, str] = {}
        self.embeddings: dict[str, Tensor] = {}

    def prepared(self) -> Manifest:
        """The clips of all subjects, those of the ones that are held out in the split "validation".

        Raises:
            UserError: no subject to train on, or none that is held out.
        """
        if self._prepared is None:
            found = ManifestData.prepared(self)
            self._prepared = replace(found, clips=tuple(self._by_subject(found.clips)))
        return self._prepared

    def _by_subject(self, clips: Sequence[Clip]) -> list[Clip]:
        """Clips of subjects with enough of them: those that are held out, and those of the others to train on."""
        members: dict[str, list[Clip]] = defaultdict(list)
        longest = math.inf if self.max_seconds is None else self.max_seconds
        for clip in clips:
            if clip.seconds <= longest and (subject := subject_of(clip)):
                members[subject].append(clip)
        chosen, counts = [], {"train": 0, "validation": 0}
        for subject, own in members.items():
            split = "validation" if is_held_out(subject, self.held_out_share) else "train"
            if split == "train":
                own = [clip for clip in own if clip.split == "train"]
            if len(own) < self.min_clips:
                continue
            counts[split] += 1
            for clip in own:
                self.subjects[clip.id] = subject
                caption = clip.caption if self.caption is None else self.caption
                chosen.append(replace(clip, split=split, caption=caption, caption_parts=()))
        for split, count in counts.items():
            if not count:
                what = "to train on" if split == "train" else "held out"
                fix = "prepare more labels or captions, or set data.min_clips or data.held_out"
                raise UserError(self.path, f"has no subject {what} with {self.min_clips} clips", fix)
        return chosen

    def read(self) -> None:
        """Embed all clips, and build the crops.

        Raises:
            UserError: the base or the embedder are missing or of another type, or as `AudioData.read`.
        """
        model = AudioTextModel.from_pretrained(self.embedder).requires_grad_(False)
        self.embeddings = embed(model, self.prepared())
        self.conditioners = without_weights(AudioModel.from_pretrained(self.generator).conditioners)
        super().read()

    def _weights(self, manifest: Manifest) -> np.ndarray:
        """Weights of clips by which every subject is drawn equally often."""
        subjects = [self.subjects[clip.id] for clip in manifest.clips]
        counts = Counter(subjects)
        return np.array([1 / counts[subject] for subject in subjects])

    def _crops(self, manifest: Manifest, dataset: type[CropDataset] = CropDataset, **options) -> CropDataset:
        own = {"embeddings": self.embeddings, "subjects": self.subjects, "references": self.references}
        return super()._crops(manifest, self.CROPS, **own, **options)


class SubjectLatents(SubjectAudio, LatentData):
    """Crops of latents for a hypernetwork, with references; arguments are those of `SubjectAudio` and `LatentData`."""

    CROPS = SubjectLatentCrops


@torch.no_grad()
def embed(model: AudioTextModel, manifest: Manifest) -> dict[str, Tensor]:
    """Unit vectors (E,) of all clips, by their ids; they are stored beside the manifest and reused.

    Args:
        model: the audio-text pair.
        manifest: of the clips.
    """
    key = hashlib.sha256(f"{weights_hash(model)} {manifest.content_hash()}".encode()).hexdigest()[:16]
    file = manifest.root / ".embeddings" / f"{key}-by-id.npy"
    clips = sorted(manifest.clips, key=lambda clip: clip.id)  # the hash does not depend on their order
    with folder_lock(file.parent, wait=True):
        if not file.is_file():
            rows = [_embed(model, manifest, clip) for clip in tqdm(clips, desc="embedding", disable=None)]
            with atomic_write(file) as temporary, Path(temporary).open("wb") as opened:
                np.save(opened, np.stack(rows))
        rows = np.load(file)
    return {clip.id: torch.from_numpy(row) for clip, row in zip(clips, rows, strict=True)}


def _embed(model: AudioTextModel, manifest: Manifest, clip: Clip) -> np.ndarray:
    waveform = read_crop(manifest, clip, model.sample_rate, 0, MAX_SECONDS * model.sample_rate)
    return model.embed_audio(waveform[None, None], model.sample_rate)[0].numpy()


def describe_subjects(subjects: Mapping[str, str], manifest: Manifest) -> dict[str, Any]:
    """How many subjects a run trains on, and the names of those that are held out."""
    split = {subjects[clip.id]: clip.split for clip in manifest.clips}
    held_out = sorted(subject for subject, name in split.items() if name == "validation")
    return {"subjects": len(split) - len(held_out), "held_out_subjects": held_out}
