"""Replay: what a base model knows, mixed into the data of a run that fine-tunes it (Robins 1995).

`base:0.3` are clips that the base model generates, once for each base and list of prompts, kept beside the data; their
class is the prior of DreamBooth (Ruiz et al. 2022, arXiv 2208.12242). `FOLDER:0.3` are recordings, such as those that
the base was trained on. Of every four generated clips one is held out: the loss on those is what the model forgets.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiodiff.audio.io import Audio, write
from audiodiff.data.manifest import NAME, Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.models import checkpoint
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds

BASE = "base"
PREFIX = "replay/"  # of the ids of clips
_HELD_OUT_EVERY = 4


class Replay(NamedTuple):
    """Where clips come from, "base" or a manifest, and their share of the training crops."""

    source: str
    share: float


def parse_replay(text: str) -> Replay:
    """Replay as it is written, `base:0.3` or `FOLDER:0.3`.

    Raises:
        UserError: no share, or one that is not from 0 to 0.95.
    """
    source, _, last = text.rpartition(":")
    try:
        share = float(last)
    except ValueError:
        share = -1.0
    if not source or not 0 <= share <= 0.95:
        raise UserError(f"data.replay {text!r:.60}", "is no source with a share", "write base:0.3 or FOLDER:0.3")
    return Replay(source, share)


def replay_manifest(source: str, base: str | None, root: Path, prompts: Sequence[str], clips: int) -> Manifest:
    """The clips of a replay; those of a base model are generated where they do not exist.

    Args:
        source: "base", or a manifest or its folder.
        base: the base model.
        root: of the data, below which generated clips are kept.
        prompts: of generated clips, in turn; empty: words of the base's captions, or its labels.
        clips: to generate.

    Raises:
        UserError: no base, a base that is no audio generator, or no manifest.
    """
    if source != BASE:
        found = Manifest.load(source)
    elif base is None:
        raise UserError(f"data.replay {source}", "has no base", "add init_from=MODEL, or name a folder of recordings")
    else:
        found = _generated(base, root / ".replay", prompts, clips)
    return replace(found, clips=tuple(replace(clip, id=PREFIX + clip.id) for clip in found.clips))


def _generated(base: str, root: Path, prompts: Sequence[str], clips: int) -> Manifest:
    loaded = checkpoint.load(base)
    key = hashlib.sha256(json.dumps([loaded.digest, list(prompts), clips]).encode()).hexdigest()[:16]
    folder = root / key
    with folder_lock(folder, wait=True):
        if not (folder / NAME).is_file():
            model = AudioModel.from_checkpoint(loaded, base).requires_grad_(False)
            _generate(AudioGenerator(model), folder, prompts or _known(model, clips), clips)
        return Manifest.load(folder)


def _known(model: AudioModel, clips: int) -> list[str]:
    """Prompts of what a model knows: words of its captions at random, the same ones every time."""
    prompt = next((one for one in model.conditioners if one.name == "prompt"), None)
    words = list(prompt.words) if prompt is not None else []
    order = np.random.default_rng(0).permutation(len(words))[:clips]
    return [words[number] for number in order]


def _generate(generator: AudioGenerator, folder: Path, prompts: Sequence[str], clips: int) -> None:
    """Generate clips with prompts, or with labels in turn where there are none."""
    model, rows = generator.model, []
    seconds = model.samples / model.sample_rate
    for number, seed in enumerate(clip_seeds(0, clips)):
        caption = prompts[number % len(prompts)] if prompts and model.takes_prompts else ""
        label = "" if caption or not model.labels else model.labels[number % len(model.labels)]
        conditions = {"prompt": caption} if caption else {"labels": [label]} if label else {}
        audio = generator.generate(clip_seeds=[seed], conditions=conditions)
        name = f"{number:04d}.flac"
        write(folder / name, Audio(audio.samples[0], audio.sample_rate))
        split = "validation" if number % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1 else "train"
        row = {"split": split, "synthetic": True, "caption": caption, "label": label, "channels": model.channels}
        content = f"{folder.name}-{number}"
        rows.append(Clip(f"base/{number:04d}", name, seconds, model.sample_rate, content=content, **row))
    Manifest(tuple(rows), folder).save()
