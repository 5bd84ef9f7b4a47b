"""How far networks see: exactly as far as they say, by the gradient of single outputs."""

import pytest
import torch
from torch import Tensor, nn

from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.nn.unet1d import BLOCKS, UNet1d

BANDS, HOP = 3, 16
FRONTENDS = {
    "stft": lambda: StftFrontend(n_fft=64, hop_length=HOP),
    "strided": lambda: StridedFrontend(features=6, stride=4),
    "identity": lambda: IdentityFrontend(1),
}
# Front ends with other options of the network.
VARIANTS = {"folded": ("stft", {"fold": 2}), "convnext": ("identity", {"block": "convnext", "dilation_cycle": 2})}
LEVELS = [1, 2, 3]
every_frontend = pytest.mark.parametrize("frontend", [*FRONTENDS, *VARIANTS])


def randomize(module: nn.Module) -> nn.Module:
    """With random numbers in place of weights that are zero at initialization."""
    for parameter in module.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2)
    return module


def build(frontend: str, levels: int, blocks: int = 2) -> Network:
    torch.manual_seed(0)
    frontend, variant = VARIANTS.get(frontend, (frontend, {}))
    widths = [8] * levels
    return randomize(Network(FRONTENDS[frontend](), BANDS, HOP, widths, [blocks] * levels, embedding=8, **variant))


def seen(output: Tensor, position: int, given: Tensor) -> Tensor:
    """Where, along its last axis, `given` matters to the output at a position."""
    (gradient,) = torch.autograd.grad(output[..., position].sum(), given, retain_graph=True)
    return gradient.abs().flatten(0, -2).sum(0).nonzero().flatten()


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("levels", "blocks"), [(1, 1), (1, 5), (2, 1), (2, 3), (3, 2), (4, 1)])
def test_unet_sees_as_far_as_it_says(levels, blocks, block):
    torch.manual_seed(0)
    shape = {"channels": [6] * levels, "blocks": [blocks] * levels, "embedding": 8, "block": block}
    unet = randomize(UNet1d(2, 2, condition=2, **shape)).double()
    frames = unet.stride * (2 * unet.receptive_field // unet.stride + 3)
    x, condition = (torch.randn(1, 2, frames, dtype=torch.float64, requires_grad=True) for _ in range(2))
    unet.noise_level.forward = lambda _: torch.ones(1, 8, dtype=torch.float64)
    result = unet(x, torch.zeros(1), condition)
    middle = frames // 2 // unet.stride * unet.stride
    for given in (x, condition):
        distances = [(seen(result, t, given) - t).abs().max().item() for t in range(middle, middle + unet.stride)]
        late = 3 if block == "convnext" and given is condition else 0  # added after the first depthwise convolution
        assert max(distances) == unet.receptive_field - late


@every_frontend
@pytest.mark.parametrize("levels", LEVELS)
def test_network_sees_as_far_as_it_says(frontend, levels):
    network = build(frontend, levels)
    reach, grid = network.receptive_field, network.grid
    samples = grid * (2 * reach // grid + 4)
    x = torch.randn(1, 1, samples, requires_grad=True)
    frames = torch.randn(1, BANDS, samples // HOP + 1, requires_grad=True)
    result = network(x, torch.zeros(1), Condition(frames))
    middle = samples // 2 // grid * grid
    furthest = 0
    for t in range(middle, middle + grid):
        for distance in (seen(result, t, x) - t, HOP * seen(result, t, frames) - t):
            furthest = max(furthest, distance.abs().max().item())
    # The ends of an STFT's window are zeros; where mels are wider than frames, few samples lie as badly as can be.
    # ConvNeXt blocks add the condition after their depthwise convolution, whose half-width is 3.
    assert reach - {"strided": HOP, "convnext": 6}.get(frontend, 2) <= furthest <= reach


@every_frontend
@pytest.mark.parametrize("levels", LEVELS)
def test_a_stretch_on_the_grid_is_the_whole_but_for_its_reach(frontend, levels):
    network = build(frontend, levels)
    reach, grid = network.receptive_field, network.grid
    before = -(-reach // grid) * grid
    start, samples = 3 * grid, 2 * before + 5 * grid
    whole_samples = start + samples + 7 * HOP
    x, frames = torch.randn(1, 1, whole_samples), torch.randn(1, BANDS, whole_samples // HOP)
    level = torch.zeros(1)
    whole = network(x, level, Condition(frames))

    def stretch(start: int) -> Tensor:
        """The error of a stretch, by position in it."""
        cut = Condition(frames[..., start // HOP : (start + samples) // HOP])
        result = network(x[..., start : start + samples], level, cut)
        return (result - whole[..., start : start + samples]).abs().flatten() / whole.abs().max()

    error = stretch(start)
    assert error[reach : samples - reach].max() < 1e-5
    assert error[:reach].max() > 1e-3 and error[samples - reach :].max() > 1e-3
    if grid > HOP:
        assert stretch(start + HOP)[before : samples - before].max() > 1e-3


@pytest.mark.parametrize("blocks", [0, 1, 4])
def test_pitch_sees_as_far_as_it_says(blocks):
    torch.manual_seed(0)
    pitch = PitchNetwork(BANDS, channels=8, blocks=blocks, bins=12)
    assert pitch.receptive_field == 2**blocks
    mel = torch.randn(1, BANDS, 60, requires_grad=True)
    bins, voicing = pitch.logits(mel)
    for result in (bins, voicing):
        assert (seen(result, 30, mel) - 30).aminmax() == (-pitch.receptive_field, pitch.receptive_field)


def test_attention_sees_everything():
    network = Network(StftFrontend(n_fft=64, hop_length=HOP), BANDS, HOP, [8], [1], embedding=8, attention_levels=True)
    assert network.unet.receptive_field is None and network.receptive_field is None


def test_without_a_condition_only_the_signal_counts():
    assert (
        Network(StridedFrontend(features=6, stride=4), channels=[8], blocks=[1], embedding=8).receptive_field
        == 4 + 4 + 4
    )
