"""The systems that stand beside each other in a report: each turns a clip's mel into a waveform.

Two of them cheat, and say so: the ground truth is the recording itself, and WORLD analyses the recording, not its mel.
The others bracket the network: what a mel alone is worth (Griffin-Lim; shaped noise, with and without mel consistency),
what the same architecture is worth before training, and what training added, with and without mel consistency.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.consistency import project
from audiodiff.audio.griffin_lim import griffin_lim
from audiodiff.audio.prior import MelPrior
from audiodiff.diffusion.noise import batch_noise
from audiodiff.metrics import world
from audiodiff.pipelines.vocoder import Vocoder

GRIFFIN_LIM_ITERATIONS = 60
CONSISTENCY_ITERATIONS = 32  # where the model itself uses none


@dataclass(frozen=True)
class System:
    """One row of the report.

    Attributes:
        name: key in report.json.
        label: heading.
        note: what it is, in plain words.
        synthesize: (recording (T,), its mel (M, F), seed) -> waveform (about T,).
        timed: whether its speed means anything.
    """

    name: str
    label: str
    note: str
    synthesize: Callable[[Tensor, Tensor, int], Tensor]
    timed: bool = True


def systems(
    vocoder: Vocoder, untrained: Vocoder | None, steps: int, sampler: str | None = None, baselines: bool = True
) -> list[System]:
    """The rows of a report on `vocoder`; without `baselines` the recording and the network alone.

    Args:
        vocoder: under judgement.
        untrained: the same model with fresh weights; None leaves its row out.
        steps: network calls a clip.
        sampler: name, or None for the model's own.
        baselines: whether the systems that need no training stand beside it.
    """
    iterations = _iterations(vocoder)

    def network(source: Vocoder, consistency: int) -> Callable[[Tensor, Tensor, int], Tensor]:
        return lambda _, mel, seed: (
            source.generate(mel, steps, clip_seeds=[seed], sampler=sampler, consistency=consistency).samples
        )

    truth = ground_truth()
    trained = [
        System(
            "network",
            "Network",
            f"The trained network: {steps} calls from mel-shaped noise, nothing after.",
            network(vocoder, 0),
        ),
        System(
            "network_consistency",
            "Network + mel consistency",
            f"The same, then {iterations} iterations of mel consistency.",
            network(vocoder, iterations),
        ),
    ]
    if not baselines:
        return [truth, *trained]
    fresh = System(
        "untrained",
        "Network at initialization",
        f"The same architecture with fresh weights: {steps} calls, no mel consistency.",
        network(untrained, 0) if untrained else lambda *_: _[0],
    )
    return [truth, *without_network(vocoder), *([fresh] if untrained else []), *trained]


def ground_truth() -> System:
    """The mark to reach."""
    return System(
        "ground_truth", "Ground truth", "The recording itself, at the model's rate.", lambda x, *_: x, timed=False
    )


def _iterations(vocoder: Vocoder) -> int:
    return vocoder.model.consistency or CONSISTENCY_ITERATIONS


def without_network(vocoder: Vocoder) -> list[System]:
    """What is to be had from the mels of `vocoder` (and, for WORLD, from the recording) without training."""
    spec, iterations = vocoder.spec, _iterations(vocoder)
    prior = vocoder.model.prior if isinstance(vocoder.model.prior, MelPrior) else MelPrior(spec)

    def noise(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        return prior.color(batch_noise([seed], 1, mel.shape[-1] * spec.hop_length)[:, 0], mel[None])[0]

    def consistent(x: Tensor, mel: Tensor, seed: int) -> Tensor:
        return project(noise(x, mel, seed)[None], mel[None], spec, iterations)[0]

    return [
        System(
            "griffin_lim",
            "Griffin-Lim",
            f"The classical way: magnitudes from the mel's pseudo-inverse, phases by {GRIFFIN_LIM_ITERATIONS} "
            "iterations.",
            lambda _, mel, seed: griffin_lim(mel, spec, GRIFFIN_LIM_ITERATIONS, seed % 2**32),
        ),
        System(
            "world",
            "WORLD",
            "A classical vocoder's copy synthesis. It hears the recording (pitch, envelope, aperiodicity every 5 "
            "ms), not its mel, and shares its analysis with the pitch metrics.",
            lambda x, *_: torch.from_numpy(world.resynthesize(x.numpy(), spec.sample_rate)),
        ),
        System("noise", "Mel-shaped noise", "No network: white noise with the mel's spectral envelope.", noise),
        System(
            "noise_consistency",
            "Mel-shaped noise + mel consistency",
            f"No network: the same noise, then {iterations} iterations of mel consistency.",
            consistent,
        ),
    ]


def synthesize(
    system: System,
    recordings: Sequence[Tensor],
    mels: Sequence[Tensor],
    seeds: Sequence[int],
    tick: Callable[[], object] = lambda: None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """All clips by one system, each (T,) as long as its recording, and the seconds each took (clips,)."""
    system.synthesize(recordings[0], mels[0], seeds[0])  # warm-up: memory, plans of transforms, kernels
    waveforms, seconds = [], []
    for recording, mel, seed in zip(recordings, mels, seeds, strict=True):
        start = time.perf_counter()
        waveform = system.synthesize(recording, mel, seed)
        seconds.append(time.perf_counter() - start)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, len(recording) - len(waveform))))
        waveforms.append(waveform[: len(recording)].clamp(-1, 1).numpy())
        tick()
    return waveforms, np.array(seconds)
