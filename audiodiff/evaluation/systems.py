"""Systems that an evaluation compares: each resynthesizes a clip from its mel.

Two systems also use the recording: the ground truth is the recording, and WORLD analyzes it. The others are baselines
without training (Griffin-Lim; mel-shaped noise, with and without mel consistency), the network with random weights, and
the trained network, with and without mel consistency.
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
CONSISTENCY_ITERATIONS = 32  # for models that use none


@dataclass(frozen=True)
class System:
    """A system: a row of the report.

    Attributes:
        name: key in report.json.
        label: name in tables.
        note: description.
        synthesize: (recording (T,), its mel (M, F), seed) -> waveform (about T,).
        timed: whether its speed is measured.
        iterations: of mel consistency; None: it has none.
    """

    name: str
    label: str
    note: str
    synthesize: Callable[[Tensor, Tensor, int], Tensor]
    timed: bool = True
    iterations: int | None = None


def systems(
    vocoder: Vocoder, untrained: Vocoder | None, steps: int, sampler: str | None = None, baselines: bool = True
) -> list[System]:
    """Return the systems of a report on `vocoder`; without `baselines` only the recording and the network.

    Args:
        vocoder: the model to evaluate.
        untrained: the same model with random weights, or None.
        steps: denoising steps per clip.
        sampler: name; None: the model's own.
        baselines: whether to include systems that need no training.
    """
    iterations = _iterations(vocoder)

    def network(vocoder: Vocoder, consistency: int) -> Callable[[Tensor, Tensor, int], Tensor]:
        options = {"steps": steps, "sampler": sampler, "consistency": consistency}
        return lambda _, mel, seed: vocoder.generate(mel, clip_seeds=[seed], **options).samples

    truth = ground_truth()
    trained = [
        System(
            "network",
            "Network",
            f"The trained network: {steps} steps from mel-shaped noise, without mel consistency.",
            network(vocoder, 0),
        ),
        System(
            "network_consistency",
            "Network + mel consistency",
            f"The same, followed by {iterations} iterations of mel consistency.",
            network(vocoder, iterations),
        ),
    ]
    if not baselines:
        return [truth, *trained]
    initial = System(
        "untrained",
        "Network at initialization",
        f"The same architecture with random weights: {steps} steps, without mel consistency.",
        network(untrained, 0) if untrained else lambda *_: _[0],
    )
    return [truth, *without_network(vocoder), *([initial] if untrained else []), *trained]


def ground_truth() -> System:
    """The recording: the upper bound of quality."""
    return System(
        "ground_truth", "Ground truth", "The recording, at the model's sample rate.", lambda x, *_: x, timed=False
    )


def _iterations(vocoder: Vocoder) -> int:
    return vocoder.model.consistency or CONSISTENCY_ITERATIONS


def without_network(vocoder: Vocoder) -> list[System]:
    """Return the systems without a network: from the mel of `vocoder`, or for WORLD from the recording."""
    spec, iterations = vocoder.spec, _iterations(vocoder)
    prior = vocoder.model.prior if isinstance(vocoder.model.prior, MelPrior) else MelPrior(spec)

    def noise(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        return prior.color(batch_noise([seed], 1, mel.shape[-1] * spec.hop_length)[:, 0], mel[None])[0]

    def consistent_noise(x: Tensor, mel: Tensor, seed: int) -> Tensor:
        return project(noise(x, mel, seed)[None], mel[None], spec, iterations)[0]

    return [
        System(
            "griffin_lim",
            "Griffin-Lim",
            f"Magnitudes from the pseudo-inverse of the mel filters, phases by {GRIFFIN_LIM_ITERATIONS} iterations.",
            lambda _, mel, seed: griffin_lim(mel, spec, GRIFFIN_LIM_ITERATIONS, seed % 2**32),
        ),
        System(
            "world",
            "WORLD",
            "Copy synthesis by a classical vocoder, from an analysis of the recording (pitch, envelope, aperiodicity "
            "every 5 ms), not from its mel. The pitch metrics use the same analysis.",
            lambda x, *_: torch.from_numpy(world.resynthesize(x.numpy(), spec.sample_rate)),
        ),
        System("noise", "Mel-shaped noise", "White noise with the spectral envelope of the mel; no network.", noise),
        System(
            "noise_consistency",
            "Mel-shaped noise + mel consistency",
            f"The same noise, followed by {iterations} iterations of mel consistency; no network.",
            consistent_noise,
            iterations=iterations,
        ),
    ]


def synthesize(
    system: System, inputs: Sequence[tuple[Tensor, Tensor, int]], progress: Callable[[], object] = lambda: None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Synthesize clips, given as (recording, mel, seed), by one system.

    Returns:
        The waveforms, each (T,) as long as its recording, and the seconds that each took (clips,).
    """
    system.synthesize(*inputs[0])  # warm-up: memory, FFT plans, kernels
    waveforms, seconds = [], []
    for recording, mel, seed in inputs:
        start = time.perf_counter()
        waveform = system.synthesize(recording, mel, seed)
        seconds.append(time.perf_counter() - start)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, len(recording) - len(waveform))))
        waveforms.append(waveform[: len(recording)].clamp(-1, 1).numpy())
        progress()
    return waveforms, np.array(seconds)
