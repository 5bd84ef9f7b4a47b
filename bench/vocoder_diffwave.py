"""The peer `diffwave` (Kong et al. 2021; the package of that name) at its default size, trained by its own step and
sampled by its own function in its six fast steps.

What is its own: network, spectrogram upsampler, noise schedules, loss, Adam at its rate, no averaging. What is adapted:
the sample rate (a number that it only passes on; its hop of 256 samples and its 80 bands are ours as well), crops and
batch, which are the bench's, and the mel. It expects magnitudes in decibels, a hundredth each, with 0 near the floor;
ours are brought to that scale with 0 at their own floor and nothing cut off above 1. Of a centered mel it takes a frame
for every hop in training, and leaves the last one.
"""

from pathlib import Path

import torch
from diffwave import inference
from diffwave.learner import DiffWaveLearner
from diffwave.model import DiffWave
from diffwave.params import AttrDict, params
from torch import Tensor
from vocoder_training import Course, Training, train_for

from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.errors import UserError
from audiodiff.evaluation.systems import System

WEIGHTS = "weights.pt"
STEPS = len(params.inference_noise_schedule)


class Peer:
    """DiffWave."""

    name = "diffwave"
    rows = (f"diffwave, {STEPS} calls",)

    def train(self, course: Course, folder: Path) -> Training:
        """By its learner's step."""
        network = build(course.spec).to(course.device)
        analysis = MelSpectrogram(course.spec).to(course.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=params.learning_rate)
        learner = DiffWaveLearner(str(folder), network, None, optimizer, network.params)

        def step(waveform: Tensor, _: float) -> Tensor:
            mel = scaled(analysis(waveform), course.spec)[..., : waveform.shape[-1] // params.hop_samples]
            return learner.train_step({"audio": waveform, "spectrogram": mel}).detach()

        found = train_for(course, step, sum(parameter.numel() for parameter in network.parameters()))
        torch.save(learner.state_dict()["model"], folder / WEIGHTS)
        return found

    def systems(self, course: Course, work: Path, device: str) -> list[System]:
        """Its fast sampling."""
        network = build(course.spec)
        network.load_state_dict(torch.load(work / self.name / WEIGHTS, map_location="cpu", weights_only=True))
        key = f"{work}/{device}"
        inference.models[key] = network.to(device).eval()

        def made(_: Tensor, mel: Tensor, seed: int) -> Tensor:
            with torch.random.fork_rng():
                torch.manual_seed(seed % 2**63)
                told = scaled(mel, course.spec)
                return inference.predict(told, key, device=torch.device(device), fast_sampling=True)[0][0].cpu()

        return [System(self.rows[0], self.rows[0], f"Its {STEPS} fast steps.", made)]


def build(spec: MelSpec) -> DiffWave:
    """The network, at its default size.

    Raises:
        UserError: mels that it is not made for.
    """
    if (spec.hop_length, spec.n_mels) != (params.hop_samples, params.n_mels):
        problem = f"diffwave is built for {params.n_mels} bands every {params.hop_samples} samples"
        raise UserError("mel spec", problem, "run the bench with audio=speech_16k")
    network = DiffWave(AttrDict(params))
    network.params.override({"sample_rate": spec.sample_rate})
    return network


def scaled(mel: Tensor, spec: MelSpec) -> Tensor:
    """A log-mel, any base: 0 at the spec's floor, 1 at full scale."""
    return 1 - mel / float(spec.compress(torch.zeros(())))
