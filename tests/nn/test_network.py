"""What holds for every network: any length, zero at initialization, independent clips."""

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network

BANDS, HOP = 5, 16
FRONTENDS = {
    "stft": lambda channels=1: StftFrontend(channels, n_fft=64, hop_length=HOP),
    "stft_masks": lambda channels=1: StftFrontend(channels, n_fft=64, hop_length=HOP, additive=False),
    "strided": lambda channels=1: StridedFrontend(channels, features=12, stride=4),
    "identity": lambda channels=1: IdentityFrontend(channels),
}
SIGNALS = {
    "stft": lambda: StftFrontend(1, n_fft=64, hop_length=HOP, signals=2, additive=False),
    "strided": lambda: StridedFrontend(1, features=12, stride=4, signals=2),
    "identity": lambda: IdentityFrontend(1, signals=2),
}
# Front ends with other options of the network.
VARIANTS = {
    "folded": ("stft", {"fold": 2}),
    "convnext": ("strided", {"block": "convnext"}),
    "folded convnext": ("identity", {"fold": 3, "block": "convnext"}),
}
every_frontend = pytest.mark.parametrize("frontend", [*FRONTENDS, *VARIANTS])


def build(frontend: str, channels: int = 1, levels: int = 2, condition: int = BANDS, **options) -> Network:
    torch.manual_seed(0)
    frontend, variant = VARIANTS.get(frontend, (frontend, {}))
    widths, blocks = [16] * levels, [2] * levels
    return Network(FRONTENDS[frontend](channels), condition, HOP, widths, blocks, embedding=16, **variant, **options)


def randomize(network: Network) -> Network:
    """The network with random numbers in place of its zero-initialized weights, as if it had been trained."""
    for parameter in network.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2)
    return network


def inputs(batch: int, samples: int, channels: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, samples, generator=generator)
    frames = torch.randn(batch, BANDS, 1 + samples // HOP, generator=generator)
    return x, torch.linspace(-5, 5, batch), Condition(frames)


@every_frontend
@settings(max_examples=10, deadline=None)
@given(samples=st.integers(1, 150), channels=st.integers(1, 2), levels=st.integers(1, 3), attention=st.booleans())
def test_output_has_the_length_of_the_input(frontend, samples, channels, levels, attention):
    network = randomize(build(frontend, channels, levels, attention_levels=attention))
    x, log_snr, cond = inputs(2, samples, channels)
    result = network(x, log_snr, cond)
    assert result.shape == x.shape
    assert result.dtype == x.dtype
    assert torch.isfinite(result).all()
    assert result.any()


@every_frontend
def test_output_is_zero_at_initialization(frontend):
    x, log_snr, cond = inputs(2, 77)
    assert not build(frontend, attention_levels=True)(x, log_snr, cond).any()


@every_frontend
def test_output_depends_on_signal_level_and_condition(frontend):
    network = randomize(build(frontend))
    x, log_snr, cond = inputs(1, 64)
    result = network(x, log_snr, cond)
    for other in (
        network(x + 0.1, log_snr, cond),
        network(x, log_snr + 1, cond),
        network(x, log_snr, Condition(cond.frames + 0.1)),
    ):
        assert (result - other).abs().max() > 1e-3 * result.abs().max()


@every_frontend
def test_gradient_reaches_every_parameter(frontend):
    network = randomize(build(frontend, levels=3, attention_levels=True))
    x, log_snr, cond = inputs(3, 90)
    network(x, log_snr, cond).square().mean().backward()
    idle = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert idle == []


@every_frontend
def test_every_parameter_trains_within_three_steps(frontend):
    """Zero at initialization must not mean dead: the last layer moves first, then what stands behind it."""
    network = build(frontend, attention_levels=True)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    x, log_snr, cond = inputs(4, 90)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x, log_snr, cond) - x.roll(1, -1)).square().mean().backward()
        optimizer.step()
    assert [name for name, value in network.named_parameters() if torch.equal(value, before[name])] == []


@every_frontend
def test_batch_order_does_not_matter(frontend):
    network = randomize(build(frontend, attention_levels=True))
    x, log_snr, cond = inputs(4, 90)
    order = torch.tensor([2, 0, 3, 1])
    result = network(x, log_snr, cond)
    again = network(x[order], log_snr[order], Condition(cond.frames[order]))
    torch.testing.assert_close(again, result[order], atol=1e-5, rtol=1e-5)


@every_frontend
@settings(max_examples=10, deadline=None)
@given(short=st.integers(1, 100), longer=st.integers(0, 90), attention=st.booleans())
def test_clip_alone_equals_the_clip_in_a_longer_batch(frontend, short, longer, attention):
    network = randomize(build(frontend, levels=3, attention_levels=attention))
    x, log_snr, cond = inputs(1, short)
    alone = network(x, log_snr, cond)

    samples = short + longer
    other, _, other_cond = inputs(1, samples, seed=1)
    garbage = 100 * torch.randn(1, 1, longer, generator=torch.Generator().manual_seed(2))
    held = other_cond.frames.shape[-1] - cond.frames.shape[-1]
    frames = nn.functional.pad(cond.frames, (0, held), mode="replicate")
    together = network(
        torch.cat([torch.cat([x, garbage], -1), other]),
        log_snr.expand(2),
        Condition(torch.cat([frames, other_cond.frames]), torch.tensor([short, samples])),
    )
    torch.testing.assert_close(together[:1, :, :short], alone, atol=2e-5, rtol=1e-4)
    assert not together[0, :, short:].any()


@every_frontend
def test_valid_samples_of_a_whole_clip_change_nothing(frontend):
    network = randomize(build(frontend, attention_levels=True))
    x, log_snr, cond = inputs(2, 83)
    told = Condition(cond.frames, torch.tensor([83, 83]))
    torch.testing.assert_close(network(x, log_snr, told), network(x, log_snr, cond), atol=1e-5, rtol=1e-5)


def aligned_condition(network: Network, samples: int, cond: Condition) -> torch.Tensor:
    """What the U-Net is told."""
    seen = []
    handle = network.unet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[2]))
    network(torch.zeros(1, 1, samples), torch.zeros(1), cond)
    handle.remove()
    return rearrange(seen[0], "b (k c) f -> b c (f k)", k=network.fold)


@every_frontend
def test_condition_is_read_where_the_frame_lies(frontend):
    """A ramp over the conditioning frames comes out as the time of each of the front end's frames, in hops."""
    network, samples = build(frontend), 12 * HOP
    ramp = torch.arange(13.0).expand(1, BANDS, 13)
    seen = aligned_condition(network, samples, Condition(ramp))[0, 0]
    front = network.frontend
    centers = torch.tensor([front.offset + front.stride * j for j in range(len(seen))])
    torch.testing.assert_close(seen, (centers / HOP).clamp(0, 12), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("frontend", "levels"), [("stft", 1), ("stft_masks", 1), ("strided", 2), ("strided", 3), ("identity", 3)]
)
def test_shifting_signal_and_condition_by_one_hop_shifts_the_output(frontend, levels):
    """Levels are such that a hop is a whole number of the coarsest frames; the edges, which see zeros, are left out."""
    network = randomize(build(frontend, levels=levels))
    frames, edge = 60, 24 * HOP
    generator = torch.Generator().manual_seed(3)
    x, mel = (torch.randn(1, c, n, generator=generator) for c, n in ((1, frames * HOP), (BANDS, frames)))
    level = torch.zeros(1)
    result = network(x, level, Condition(mel))
    shifted = network(x.roll(HOP, -1), level, Condition(mel.roll(1, -1)))
    inside = slice(edge + HOP, -edge)
    torch.testing.assert_close(shifted[..., inside], result.roll(HOP, -1)[..., inside], atol=1e-4, rtol=1e-4)
    unshifted = network(x.roll(HOP, -1), level, Condition(mel))
    assert (unshifted - shifted)[..., inside].abs().max() > 1e-2


def test_unconditional_network_takes_no_condition():
    network = randomize(build("identity", channels=3, condition=0))
    x = torch.randn(2, 3, 21)
    assert network(x, torch.zeros(2)).shape == x.shape
    with pytest.raises(ValueError, match="takes 0 conditioning channels, got 5"):
        network(x, torch.zeros(2), Condition(torch.zeros(2, 5, 21)))


def test_condition_that_does_not_fit_is_refused():
    network = build("stft")
    x, log_snr, cond = inputs(2, 64)
    with pytest.raises(ValueError, match="takes 5 conditioning channels, got 0"):
        network(x, log_snr)
    with pytest.raises(ValueError, match="takes 5 conditioning channels, got 4"):
        network(x, log_snr, Condition(cond.frames[:, :4]))
    with pytest.raises(ValueError, match=r"cond.frames has a batch of 1, the input of 2"):
        network(x, log_snr, Condition(cond.frames[:1]))
    with pytest.raises(ValueError, match=r"cond.samples has a batch of 3, the input of 2"):
        network(x, log_snr, Condition(cond.frames, torch.tensor([64, 64, 64])))


@pytest.mark.parametrize("frontend", SIGNALS)
def test_conditioning_signals_are_heard_and_end_with_the_clip(frontend):
    torch.manual_seed(0)
    network = randomize(Network(SIGNALS[frontend](), BANDS, HOP, [16, 16], [2, 2], embedding=16))
    x, log_snr, cond = inputs(1, 96)
    signal = torch.randn(1, 2, 96)
    alone = network(x, log_snr, Condition(cond.frames, signal=signal))
    for k in range(2):
        other = signal.clone()
        other[:, k] += 0.1
        changed = network(x, log_snr, Condition(cond.frames, signal=other))
        assert (changed - alone).abs().max() > 1e-3 * alone.abs().max()
    garbage = 100 * torch.randn(1, 3, 40)
    padded = Condition(
        nn.functional.pad(cond.frames, (0, 3), mode="replicate"),
        torch.tensor([96]),
        torch.cat([signal, garbage[:, 1:]], -1),
    )
    result = network(torch.cat([x, garbage[:, :1]], -1), log_snr, padded)
    torch.testing.assert_close(result[..., :96], alone, atol=2e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="takes 2 conditioning signals, got 0"):
        network(x, log_snr, cond)
    with pytest.raises(ValueError, match="takes 2 conditioning signals, got 1"):
        network(x, log_snr, Condition(cond.frames, signal=signal[:, :1]))


def test_condition_repeats_its_batch():
    cond = Condition(torch.arange(6.0).reshape(2, 3, 1), torch.tensor([3, 1]), torch.arange(4.0).reshape(2, 1, 2))
    twice = cond.repeated(2)
    for name, tensor in cond.tensors().items():
        assert torch.equal(getattr(twice, name), torch.cat([tensor, tensor]))
    assert Condition().repeated(3) == Condition()


def test_condition_moves_between_devices():
    cond = Condition(torch.zeros(1, 2, 3), torch.tensor([3]))
    moved = cond.to("meta")
    assert moved.frames.device.type == moved.samples.device.type == "meta"
    assert cond.frames.device.type == "cpu"
    assert Condition().to("meta") == Condition()


def test_network_keeps_its_constructor_arguments():
    network = build("strided", attention_levels=True)
    assert (network.condition, network.condition_hop) == (BANDS, HOP)
    assert (network.channels, network.blocks, network.embedding, network.attention_levels) == (
        [16, 16],
        [2, 2],
        16,
        True,
    )


@every_frontend
def test_a_network_of_two_outputs_has_a_signal_for_each(frontend):
    network = randomize(build(frontend, channels=2, num_outputs=2))
    x, log_snr, cond = inputs(2, 96, channels=2)
    output = network(x, log_snr, cond)
    assert output.shape == (2, 4, 96)
    assert not torch.equal(output[:, :2], output[:, 2:])
    with pytest.raises(ValueError, match="at least one"):
        build(frontend, num_outputs=0)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_attention_levels_count_from_the_bottom(levels):
    network = build("stft", levels=3, attention_levels=levels)
    assert len(network.unet.attention) == 2 * levels - 1 and network.receptive_field is None
    with pytest.raises(ValueError, match=r"attention_levels=4.* 3"):
        build("stft", levels=3, attention_levels=4)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for gradient_checkpointing in (False, True):
        network = randomize(build("stft", levels=2, attention_levels=1, gradient_checkpointing=gradient_checkpointing))
        x, log_snr, cond = inputs(2, 300)
        network(x, log_snr, cond).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
