"""Training of an `Aligner` on the very recordings that it is to align, without labels, by Viterbi training.

Expectation maximization alternates between the best alignment of all clips and the mixtures that fit it best (Juang and
Rabiner 1990). The first alignment divides every clip evenly ("flat start"), or is the one that the data states, as
synthetic speech does. Mixtures begin with one component and double between stages.

There is no gradient in it, and nothing to tune: a step solves for all parameters at once, a run takes minutes on one
core. So it is no task of the training module, whose optimizer, learning rates and exports it has no use for.
"""

import logging
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from audiodiff.audio.cepstrum import FEATURES, cepstra
from audiodiff.audio.io import read
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.models.aligner import FRAME_SECONDS, SAMPLE_RATE, Aligner, Unit
from audiodiff.models.lattice import STATES
from audiodiff.nn.gaussian_mixture import GaussianMixtures

STAGES = (5, 2, 2, 2)  # iterations with 1, 2, 4, 8 components
ADAPTATION = 3  # iterations from a trained aligner
MAX_SECONDS = 900.0  # of speech; more changes the boundaries little
MAX_CLIP_SECONDS = 30.0  # longer clips are not trained on
MARKS = "ˈˌ↓→↗↘"
PAUSES = ' ,.;:!?—…"()“”'  # known to every aligner, also where its recordings lack some
_PAUSE_SECONDS = 0.075  # a stated pause of less is a transition, not silence
_BATCH_FRAMES = 24000  # aligned at once
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Utterance:
    """Cepstra (T, D) of a clip, its phonemes, and its durations as in `manifest.Clip`, () if unknown."""

    features: Tensor
    phonemes: str
    durations: tuple[float, ...] = ()


def choose_clips(manifest: Manifest) -> list[Clip]:
    """Clips to train on, `MAX_SECONDS` of them at most: every n-th of those that have phonemes and are not too long.

    All splits are used: an aligner has to fit the clips that it aligns, and measures nothing.
    """
    clips = [clip for clip in manifest.clips if clip.phonemes and clip.seconds <= MAX_CLIP_SECONDS]
    step = max(1.0, sum(clip.seconds for clip in clips) / MAX_SECONDS)
    return [clips[int(k * step)] for k in range(int(len(clips) / step))] or clips[:1]


def load_utterance(manifest: Manifest, clip: Clip) -> Utterance:
    """Read a clip; raises UserError if it cannot be read."""
    audio = read(manifest.path(clip), SAMPLE_RATE)
    return Utterance(cepstra(audio.samples[None])[0], clip.phonemes, clip.durations)


def new_aligner(texts: Iterable[str]) -> Aligner:
    """An untrained aligner for the symbols of some phonemes: punctuation and separators pause, stress marks are mute.

    Raises:
        UserError: no symbol has a sound.
    """
    symbols = set().union(*texts) - set(MARKS)
    pauses = {symbol for symbol in symbols if unicodedata.category(symbol)[0] in "PZ"} | set(PAUSES)
    if not (sounds := "".join(sorted(symbols - pauses))):
        raise UserError("phonemes", "have no sound", "prepare the data with texts")
    network = GaussianMixtures(STATES * (1 + len(sounds)), 1, FEATURES)
    return Aligner(network, sounds, "".join(sorted(pauses)), MARKS)


def train(
    utterances: Sequence[Utterance], start: Aligner | None = None, progress: Callable[..., Iterable] | None = None
) -> Aligner:
    """Train an aligner on clips, from nothing or from a trained one.

    Args:
        utterances: clips; those whose durations are known begin with them and determine the shares of marks and pauses.
        start: the aligner to adapt; it is changed.
        progress: wraps the loop over iterations, such as `tqdm.tqdm`.

    Raises:
        UserError: a symbol is unknown to `start`, or no clip is long enough for its phonemes.
    """
    model = start or new_aligner(one.phonemes for one in utterances)
    units = [model.units(one.phonemes) for one in utterances]
    fits = model.chains(units, [len(one.features) for one in utterances]).fits().tolist()
    clips = [clip for clip, fit in enumerate(fits) if fit]
    clips.sort(key=lambda clip: len(utterances[clip].features))
    if not clips:
        raise UserError("recordings", "are too short for their phonemes", "correct the texts")
    features, chains = [utterances[clip].features for clip in clips], [units[clip] for clip in clips]
    if start is None:
        stated = [utterances[clip].durations for clip in clips]
        _fit(
            model.network,
            features,
            chains,
            [_initial_path(*clip) for clip in zip(features, chains, stated, strict=True)],
        )
    stages = [ADAPTATION] if start else STAGES
    plan = [stage for stage, iterations in enumerate(stages) for _ in range(iterations)]
    for number, stage in enumerate(progress(plan, desc="train", unit="iteration") if progress else plan):
        if number and stage > plan[number - 1]:
            model.network = model.network.split()
        paths, scores = _align(model, features, chains)
        _fit(model.network, features, chains, paths)
        _log.info("%d components: score %.3f", model.network.components, sum(scores) / len(scores))
    shares = stated_shares([one for one in utterances if one.durations], model)
    return model.with_arguments(**shares) if shares else model.eval()


def stated_shares(utterances: Sequence[Utterance], model: Aligner) -> dict[str, float]:
    """What marks and pauses without silence take of the symbols beside them where durations are stated."""
    marks, marked, pauses, around = 0.0, 0.0, 0.0, 0.0
    for one in utterances:
        padded = " " + one.phonemes + " "
        for place, symbol in enumerate(one.phonemes, 1):
            if symbol in model.marks and padded[place + 1] in model.phonemes:
                marks, marked = marks + one.durations[place], marked + sum(one.durations[place : place + 2])
            elif symbol == " " and one.durations[place] < _PAUSE_SECONDS:
                after = place + 2 if padded[place + 1] not in model.marks else place + 3
                pauses, around = pauses + one.durations[place], around + sum(one.durations[place - 1 : after])
    return {"mark_share": marks / marked, "pause_share": pauses / around} if marked and around else {}


def _align(model: Aligner, features: Sequence[Tensor], units: Sequence[list[Unit]]) -> tuple[list[Tensor], list[float]]:
    """Paths and scores of clips in order of their length."""
    found: list[tuple[Tensor, float]] = []
    while len(found) < len(features):
        first = len(found)
        size = max(1, _BATCH_FRAMES // len(features[min(first + 8, len(features) - 1)]))
        found += model.paths(features[first : first + size], units[first : first + size])
    return [path for path, _ in found], [score for _, score in found]


def _fit(
    network: GaussianMixtures, features: Sequence[Tensor], units: Sequence[list[Unit]], paths: list[Tensor]
) -> None:
    """Update mixtures by the frames that are in their states."""
    statistics = network.new_statistics()
    for rows, chain, path in zip(features, units, paths, strict=True):
        symbols = torch.tensor([unit.symbol for unit in chain])
        network.accumulate(statistics, rows, STATES * (1 + symbols[path // STATES]) + path % STATES)
    network.update(statistics)


def _initial_path(features: Tensor, units: Sequence[Unit], durations: Sequence[float]) -> Tensor:
    """The places in its chain of the frames of a clip: by stated durations, else evenly divided."""
    frames = torch.arange(len(features))
    if not durations:
        return frames * STATES * len(units) // len(frames)
    edges = [0.0, *accumulate(durations)]
    present = [
        number
        for number, unit in enumerate(units)
        if not unit.optional or edges[unit.last + 1] - edges[unit.first] >= _PAUSE_SECONDS
    ]
    ends = torch.tensor([edges[units[number].last + 1] for number in present], dtype=torch.float64)
    starts = torch.cat([torch.zeros(1, dtype=torch.float64), ends[:-1]])
    times = frames.double() * FRAME_SECONDS
    own = torch.searchsorted(ends, times, right=True).clamp(max=len(present) - 1)
    length = (ends - starts).clamp(min=1e-6)
    third = ((times - starts[own]) / length[own] * STATES).long().clamp(0, STATES - 1)
    return STATES * torch.tensor(present)[own] + third
