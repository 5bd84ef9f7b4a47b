"""The peer Vocos (Siuzdak 2023): backbone and head of the package `vocos` at the size of its mel model, without a GAN.

What is its own: network, AdamW at its rate and betas, half a cosine down to 0 without warm-up, no averaging. What is
ours: the mel, crops and batch, and the losses (the sum of the multi-resolution STFT distance and the mean absolute
difference of the log-mels), with gradients clipped to the norm of our recipe.
"""

from pathlib import Path

import torch
import vocoder_encodec  # noqa: F401, before vocos
from torch import Tensor, nn
from vocoder_training import Course, Training, train_for
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.evaluation.systems import System
from audiodiff.training.optim import WarmupCosine

WEIGHTS = "weights.pt"
WIDTH, INNER, LAYERS = 512, 1536, 8
RATE, BETAS, CLIP = 5e-4, (0.8, 0.9), 1.0


class Generator(nn.Module):
    """Log-mels (B, M, F) to waveforms: (B, F * hop_length), or, where the spec's frames are centered, a hop less."""

    def __init__(self, spec: MelSpec):
        super().__init__()
        self.backbone = VocosBackbone(spec.n_mels, WIDTH, INNER, LAYERS)
        self.head = ISTFTHead(WIDTH, spec.n_fft, spec.hop_length, "center" if spec.center else "same")

    def forward(self, mel: Tensor) -> Tensor:
        """The waveforms."""
        return self.head(self.backbone(mel))


class Peer:
    """Vocos."""

    name = "vocos"
    rows = ("vocos, 1 call",)

    def train(self, course: Course, folder: Path) -> Training:
        """On spectral losses alone."""
        generator = Generator(course.spec).to(course.device)
        analysis = MelSpectrogram(course.spec).to(course.device)
        optimizer = torch.optim.AdamW(generator.parameters(), RATE, BETAS)
        cosine = WarmupCosine(warmup_steps=0, final_ratio=0.0)

        def step(waveform: Tensor, gone: float) -> Tensor:
            mel = analysis(waveform)
            made = generator(mel)
            spectral = multi_resolution_stft(made, waveform).mean()
            loss = spectral + (analysis(made) - mel).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(generator.parameters(), CLIP)
            for group in optimizer.param_groups:
                group["lr"] = RATE * cosine.factor(0, gone)
            optimizer.step()
            return loss.detach()

        found = train_for(course, step, sum(parameter.numel() for parameter in generator.parameters()))
        torch.save({name: weight.cpu() for name, weight in generator.state_dict().items()}, folder / WEIGHTS)
        return found

    def systems(self, course: Course, work: Path, device: str) -> list[System]:
        """One pass; centered frames are held one longer, so that no end of a clip is missing."""
        generator = Generator(course.spec)
        generator.load_state_dict(torch.load(work / self.name / WEIGHTS, map_location="cpu", weights_only=True))
        generator.to(device).eval()

        @torch.inference_mode()
        def made(_: Tensor, mel: Tensor, seed: int) -> Tensor:
            held = nn.functional.pad(mel[None], (0, int(course.spec.center)), mode="replicate")
            return generator(held.to(device))[0].cpu()

        return [System(self.rows[0], self.rows[0], "One pass.", made)]
