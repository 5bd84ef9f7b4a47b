"""Tiny vocoders with random weights for tests of streaming, mels for them, and the difference of what they make."""

import torch

from audiodiff.audio.mel import PRESETS, MelSpec
from audiodiff.audio.prior import EnergyPrior, MelPrior, RoughPrior, StandardPrior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend, StridedFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.mel_stream import MelStream
from audiodiff.pipelines.vocoder import Vocoder

# Frames of a quarter of the usual length: clips of many reaches stay short.
SPEC = MelSpec.from_dict(
    PRESETS["speech_16k"].to_dict() | {"n_fft": 256, "win_length": 256, "hop_length": 64, "n_mels": 20}
)
FRONTENDS = {
    "stft": lambda signals: StftFrontend(n_fft=256, hop_length=64, signals=signals),
    "stft, other hop": lambda signals: StftFrontend(n_fft=512, hop_length=128, signals=signals),
    "strided": lambda signals: StridedFrontend(features=16, stride=16, signals=signals),
}
PRIORS = {
    "mel": MelPrior,
    "energy": EnergyPrior,
    "standard": lambda spec: StandardPrior(),
    "rough": lambda spec: RoughPrior(spec, EnergyPrior(spec)),
    "rough, mel": lambda spec: RoughPrior(spec, MelPrior(spec)),
}
# One of each kind: first order, both multistep families, stages, a corrector, trapezoids, noise at every step.
SAMPLERS = {"ddim": 1, "v_3m": 4, "dpm_3s": 5, "unipc_3": 4, "heun": 4, "ddpm": 3, "dpmpp_3m_sde": 4}


def build(frontend="stft", source=False, prior="mel", spec=SPEC, schedule=None, objective=None, bridge=None, **options):
    torch.manual_seed(0)
    front = FRONTENDS[frontend](source + (bridge is not None))
    widths = {"channels": [8, 8], "blocks": [1, 2], "embedding": 8} | options
    network = Network(front, spec.n_mels, spec.hop_length, **widths)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    pulses = HarmonicExcitation(PitchNetwork(spec.n_mels, channels=8, blocks=2, bins=12), spec) if source else None
    process = schedule or Cosine(), objective or V(), spec, PRIORS[prior](spec)
    return Vocoder(
        VocoderModel(network, *process, settings=[Setting(consistency=2)], conditioners=[pulses], bridge=bridge)
    )


def make_mel(frames: int, spec: MelSpec = SPEC) -> torch.Tensor:
    """Bands that swell and fade, at the levels of speech."""
    generator = torch.Generator().manual_seed(frames)
    swell = torch.linspace(0, 0.3 * frames, frames).sin() + torch.linspace(1, -1, spec.n_mels)[:, None]
    return -4 + 1.5 * swell + 0.3 * torch.randn(spec.n_mels, frames, generator=generator)


def joined(stream: MelStream) -> torch.Tensor:
    return torch.cat([audio.samples for audio in stream])


def error(made: torch.Tensor, whole: torch.Tensor) -> float:
    """Largest difference, relative to the peak of the whole."""
    assert made.shape == whole.shape
    return ((made - whole).abs().max() / whole.abs().max()).item()
