"""`Aligner`: a hidden Markov model that finds when each phoneme of a known text is spoken.

Every phoneme is a unit of three states with a mixture of Gaussians each over cepstra (`audio.cepstrum`), and silence
is one more. The phonemes of a clip form a chain (`models.lattice`), in which pauses are optional: the silence at both
ends, and each run of spaces and punctuation. Stress marks have no sound of their own.

Frame k is centered at sample k * hop_length, so the boundary between frames k - 1 and k is at (k - 1/2) hops.

Teachers state durations also for stress marks and for spaces without a pause. Where a model learned these conventions,
an aligned mark takes a share of the phoneme after it, and a pause that is not made takes one of both its neighbors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audiodiff.audio.cepstrum import FEATURES, SPEC, cepstra
from audiodiff.errors import UserError
from audiodiff.models.lattice import STATES, Chains, best_path
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.gaussian_mixture import GaussianMixtures
from audiodiff.ranges import NonNegativeFloat

SAMPLE_RATE = SPEC.sample_rate
FRAME_SECONDS = SPEC.hop_length / SPEC.sample_rate
MISFIT = -100.0  # score of a clip that is too short for its phonemes


@dataclass(frozen=True)
class Unit:
    """A part of a chain.

    Attributes:
        symbol: index among the sounding symbols, -1 for silence.
        place: which duration of the clip it is: 0 is the silence before, 1 the first symbol.
        first, last: places of the run of symbols that it stands for.
    """

    symbol: int
    place: int
    first: int
    last: int

    @property
    def optional(self) -> bool:
        """Whether it may have no frames."""
        return self.symbol < 0


@dataclass(frozen=True)
class Alignment:
    """Durations of a clip in seconds, `len(phonemes) + 2` of them, () if it is too short for its phonemes.

    `score` is the mean over frames of log density in the aligned state relative to the best of all states, in nats: 0
    where every frame fits its phoneme best, lower where text and audio differ.
    """

    durations: tuple[float, ...]
    score: float


class Aligner(PretrainedModel):
    """Hidden Markov model of phonemes.

    Args:
        network: mixtures of the states of silence, then of each sounding symbol.
        phonemes: the symbols with a sound, in the order of their mixtures.
        pauses: symbols that may be silence: spaces and punctuation.
        marks: symbols without a sound: stress marks.
        mark_share: what a mark takes of the symbol after it, 0 to 1.
        pause_share: what a pause without silence takes of the symbols beside it, 0 to 1.
    """

    network: GaussianMixtures
    TYPE = "aligner"
    ARGUMENTS = ("network", "phonemes", "pauses", "marks", "mark_share", "pause_share")

    def __init__(
        self,
        network: GaussianMixtures,
        phonemes: str,
        pauses: str,
        marks: str,
        mark_share: NonNegativeFloat = 0.0,
        pause_share: NonNegativeFloat = 0.0,
    ):
        super().__init__()
        self.network, self.phonemes, self.pauses, self.marks = network, phonemes, pauses, marks
        self.mark_share, self.pause_share = mark_share, pause_share
        if len(set(phonemes + pauses + marks)) != len(phonemes + pauses + marks):
            raise ValueError("a symbol is named twice among phonemes, pauses and marks")
        if (network.states, network.features) != (STATES * (1 + len(phonemes)), FEATURES):
            needed = f"{STATES * (1 + len(phonemes))} states of {FEATURES} features"
            raise ValueError(f"network has {network.states} states of {network.features} features, not {needed}")
        if max(mark_share, pause_share) > 1:
            raise ValueError("mark_share and pause_share must be 0 to 1")

    def units(self, phonemes: str) -> list[Unit]:
        """The chain of a string of phonemes, with the silence at both ends.

        Raises:
            UserError: a symbol is unknown, or none has a sound.
        """
        chain = [Unit(-1, 0, 0, 0)]
        end = len(phonemes) + 1
        for place, symbol in enumerate(phonemes + " ", 1):
            if symbol in self.pauses or place == end:
                silent = chain[-1].symbol < 0
                run = chain.pop() if silent else Unit(-1, place, place, place)
                chain.append(Unit(-1, end if place == end else run.place, run.first, place))
            elif symbol in self.phonemes:
                chain.append(Unit(self.phonemes.index(symbol), place, place, place))
            elif symbol not in self.marks:
                fix = f"this aligner knows {self.phonemes + self.pauses + self.marks!r}: train another"
                raise UserError(f"symbol {symbol!r}", f"unknown, number {place} of {phonemes!r:.60}", fix)
        if len(chain) < 3:
            raise UserError(f"phonemes {phonemes!r:.60}", "have no sound", "remove the clip, or correct its text")
        return chain

    def chains(self, units: Sequence[Sequence[Unit]], frames: Sequence[int]) -> Chains:
        """The chains of a batch of clips with so many frames."""
        symbols = pad_sequence([torch.tensor([unit.symbol for unit in chain]) for chain in units], True, -1)
        states = STATES * (1 + symbols)[..., None] + torch.arange(STATES)
        lengths = torch.tensor([len(chain) for chain in units])
        return Chains(states.flatten(1), symbols < 0, lengths, torch.tensor(frames))

    @torch.no_grad()
    def paths(self, features: Sequence[Tensor], units: Sequence[Sequence[Unit]]) -> list[tuple[Tensor, float]]:
        """The place in its chain of each frame of each clip (T,), and the score as in `Alignment`.

        Args:
            features: `cepstra` of each clip (T, D); there are enough frames for the chain.
            units: chain of each clip.
        """
        chains = self.chains(units, [len(rows) for rows in features])
        densities = self.network(pad_sequence(list(features), batch_first=True))
        found, total = best_path(densities, chains)
        best = [float(rows[: len(own)].amax(-1).sum()) for rows, own in zip(densities, features, strict=True)]
        return [
            (path[: len(own)], (float(score) - bound) / len(own))
            for path, own, score, bound in zip(found, features, total, best, strict=True)
        ]

    def align(self, waveforms: Sequence[Tensor], phonemes: Sequence[str]) -> list[Alignment]:
        """Align recordings (T,) at `SAMPLE_RATE` with their phonemes.

        Raises:
            UserError: a symbol is unknown, or none has a sound.
        """
        units = [self.units(one) for one in phonemes]
        features = [cepstra(waveform[None])[0] for waveform in waveforms]
        fits = self.chains(units, [len(rows) for rows in features]).fits().tolist()
        clips = [clip for clip, fit in enumerate(fits) if fit]
        found = [Alignment((), MISFIT)] * len(units)
        if clips:
            paths = self.paths([features[clip] for clip in clips], [units[clip] for clip in clips])
            for clip, (path, score) in zip(clips, paths, strict=True):
                seconds = len(waveforms[clip]) / SAMPLE_RATE
                durations = unit_durations(path, units[clip], len(phonemes[clip]), seconds)
                found[clip] = Alignment(self._share(durations, phonemes[clip]), score)
        return found

    def _share(self, durations: list[float], phonemes: str) -> tuple[float, ...]:
        """Give marks, and pauses without silence, their shares of the symbols beside them."""
        for place, symbol in enumerate(phonemes, 1):
            if symbol in self.pauses and not durations[place]:
                before = max(k for k in range(place) if durations[k] or k == 0)
                after = min(k for k in range(place + 1, len(durations)) if durations[k] or k == len(durations) - 1)
                for neighbor in (before, after):
                    taken = self.pause_share * durations[neighbor]
                    durations[place] += taken
                    durations[neighbor] -= taken
        for place in reversed(range(1, len(phonemes))):
            if phonemes[place - 1] in self.marks:
                durations[place] = self.mark_share * durations[place + 1]
                durations[place + 1] -= durations[place]
        return tuple(durations)


def unit_durations(path: Tensor, units: Sequence[Unit], symbols: int, seconds: float) -> list[float]:
    """Seconds of the silence before, of each symbol, and of the silence after, from the places of a clip's frames."""
    owners = path // STATES
    starts = torch.cat([torch.zeros(1, dtype=torch.long), owners.diff().nonzero()[:, 0] + 1]).tolist()
    edges = [0.0, *(min((start - 0.5) * FRAME_SECONDS, seconds) for start in starts[1:]), seconds]
    durations = [0.0] * (symbols + 2)
    for start, (begin, end) in zip(starts, pairwise(edges), strict=True):
        durations[units[int(owners[start])].place] = end - begin
    return durations
