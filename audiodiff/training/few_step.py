"""Fine-tuning for few network calls: the sampler that will be used is unrolled, and what comes out of it is judged.

Training on noise levels one by one teaches the mean of all signals that fit, and leaves to many small steps what no
single estimate can say. With two to four calls the last estimate *is* the output. So the whole synthesis, from noise
through the sampler's calls, the prior and the mel consistency, is run with gradients, and its waveform is held against
the recording by a spectral distance d, which does not care about phase.

A distance alone would make every output the one that is least wrong, without breath or variety. Two outputs x, x' from
two noises are therefore pushed apart as strongly as they are pulled: E d(x, y) - E d(x, x') / 2 is the energy distance,
whose minimum is the distribution of the recordings, without an adversary (Gritsenko et al. 2020, equation 5).
"""

import torch
from torch import Tensor

from audiodiff.audio.spectral import multi_resolution_mel, multi_resolution_stft
from audiodiff.diffusion.timestep_sampling import Uniform
from audiodiff.errors import UserError
from audiodiff.ranges import NonNegative, NonNegativeFloat, Positive
from audiodiff.training.module import VocoderTraining, drawn_levels, faded, limit_losses


class FewStepTraining(VocoderTraining):
    """Trains a `VocoderModel` through its own sampler.

    Args:
        calls: network calls; each step draws one of them.
        sampler: name of a deterministic one; None: the model's own.
        consistency: iterations of mel consistency that gradients pass through; None: the model's own.
        repulsion: share of the term that pushes two outputs apart; 1 makes the loss an energy distance, 0 a distance.
        mel: weight of the multi-resolution mel distance, beside `spectral`, that of the multi-resolution STFT distance.
        aligned: whether the excitation is in phase with the recording; without, it is as it will be in use.
        arguments: those of `VocoderTraining`; `times` and `terms` are not used, `spectral` is the loss's weight.

    Raises:
        UserError: a sampler that draws noise on its way, or needs more calls.
    """

    def __init__(
        self,
        *arguments,
        calls: tuple[Positive, ...] = (2, 4),
        sampler: str | None = None,
        consistency: NonNegative | None = None,
        repulsion: NonNegativeFloat = 1.0,
        aligned: bool = True,
        mel: NonNegativeFloat = 0.0,
        **named,
    ):
        super().__init__(*arguments, **named)
        self.calls, self.sampler, self.consistency = tuple(calls), sampler, consistency
        self.repulsion, self.aligned, self.mel = repulsion, aligned, mel
        for count in self.calls:
            if self.model.sampler_for(count, sampler).stochastic:
                raise UserError(f"sampler {sampler}", "draws noise on its way", "choose a deterministic one, as ddim")

    def step(self, batch: dict, key: str, gain: tuple[float, float], times: Uniform | None = None) -> dict[str, Tensor]:
        """Synthesize a batch (B, T) from its mels, twice, and compare."""
        random = self.random(key)
        hop = self.model.mel_spec.hop_length
        waveform = batch["waveform"]
        waveform = waveform[:, : waveform.shape[-1] // hop * hop]
        waveform = faded(waveform, hop)
        count, samples = waveform.shape
        levels = drawn_levels(gain, count, random)[:, None]
        calls = random.choice(self.calls)
        outputs = 2 if self.repulsion else 1
        noise = random.normal(count, 1, samples, repeats=outputs).flatten(0, 1).to(waveform)
        waveform = waveform * levels.to(waveform)
        mel = self.model.analysis(waveform)
        told = self.model.condition(mel, waveform=waveform, aligned=self.aligned)
        made = self._synthesize(noise, mel[..., : samples // hop], told, calls).unflatten(0, (outputs, count))
        losses = torch.stack([self._distance(one, waveform) for one in made]).mean(0)
        if self.repulsion:
            losses = losses - 0.5 * self.repulsion * self._distance(made[0], made[1], waveform)
        loss = limit_losses(losses).mean() + self.model.source_loss(told, waveform).mean()
        drawn = torch.ones(count)
        return {"loss": loss, "clip_loss": losses.detach(), "t": drawn, "drawn": drawn}

    def _distance(self, x: Tensor, y: Tensor, scale: Tensor | None = None) -> Tensor:
        """(B,) distance of waveforms (B, T); `scale` as of `multi_resolution_stft`."""
        distance = self.spectral * multi_resolution_stft(x, y, scale=scale)
        if self.mel:
            distance = distance + self.mel * multi_resolution_mel(x, y, self.model.mel_spec.sample_rate)
        return distance

    def _synthesize(self, noise: Tensor, mel: Tensor, told, calls: int) -> Tensor:
        """(N, 1, T) noise to (N, T) waveforms of the mels, which are repeated as often as they are needed."""
        repeats = len(noise) // len(mel)
        mel = mel.repeat(repeats, 1, 1)
        told = told.repeated(repeats)
        sampler = self.model.sampler_for(calls, self.sampler)
        x1 = sampler.noise_scale(self.model.denoiser) * noise
        white, _ = sampler.integrate(self.model.denoiser, x1, told, None, None)
        return self.model.project(self.model.restore(white[:, 0], mel), mel, self.consistency)
