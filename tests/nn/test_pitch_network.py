"""The pitch network: its outputs, its training targets, and that it can learn."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.nn.convolution import pack
from audiodiff.nn.pitch import PitchNetwork

BANDS = 10


def build(**options) -> PitchNetwork:
    torch.manual_seed(0)
    return PitchNetwork(BANDS, **{"channels": 16, "blocks": 2, "bins": 40} | options)


def frames_of(count: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, BANDS, count, generator=torch.Generator().manual_seed(seed))


def target(network: PitchNetwork, f0: float) -> Tensor:
    """What the bins are taught: a bell of one bin's width about the pitch."""
    away = (torch.tensor(f0).log() - network.centers) / (network.centers[1] - network.centers[0])
    return (-0.5 * away.square()).softmax(0)


@pytest.mark.parametrize("lengths", [[9, 4, 1], [1, 30, 12]])
def test_a_clip_alone_equals_the_clip_in_a_padded_batch(lengths):
    network, longest = build(), max(lengths)
    batch = frames_of(longest, len(lengths))
    for result, name in zip(network(batch, torch.tensor(lengths)), ("f0", "voicing"), strict=True):
        assert result.shape == (len(lengths), longest)
        for k, length in enumerate(lengths):
            alone = dict(zip(("f0", "voicing"), network(batch[k : k + 1, :, :length]), strict=True))[name]
            torch.testing.assert_close(result[k : k + 1, :length], alone)


def test_what_lies_beyond_the_reach_does_not_matter():
    network, mel = build(), frames_of(40)
    f0, voicing = network(mel)
    for distance, changes in ((network.receptive_field + 1, False), (network.receptive_field, True)):
        for other in (20 - distance, 20 + distance):
            moved = mel.clone()
            moved[..., other] += 10
            f0_there, voicing_there = network(moved)
            assert (f0_there[0, 20] != f0[0, 20]).item() is changes
            assert (voicing_there[0, 20] != voicing[0, 20]).item() is changes


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
def test_outputs_stay_in_their_ranges(scale):
    network = build(f0_min=70.0, f0_max=400.0)
    torch.nn.init.normal_(network.conv_out.weight, std=scale)
    f0, voicing = network(frames_of(400))
    assert f0.min() >= 70 * (1 - 1e-6) and f0.max() <= 400 * (1 + 1e-6)
    assert f0.max() > 3 * f0.min()
    assert voicing.min() >= 0 and voicing.max() <= 1


def said(network: PitchNetwork, bins: Tensor) -> float:
    """F0 read off the logits (bins,)."""
    network.logits = lambda mel, mask=None: (bins[None, :, None], torch.zeros(1, 1))
    return float(network(frames_of(1))[0])


@pytest.mark.parametrize("f0", [60.0, 61.7, 123.4, 350.0, 500.0])
def test_pitch_is_read_between_bins(f0):
    """A prediction equal to its target is read within cents; a bin has 100."""
    network = build()
    read = said(network, target(network, f0).log())
    assert 1200 * abs(torch.tensor(read / f0).log2()) < 6


def test_two_octaves_are_not_averaged():
    network = build()
    octaves = 0.6 * target(network, 100.0) + 0.4 * target(network, 200.0)
    assert said(network, octaves.log()) == pytest.approx(100.0, rel=0.005)


def test_loss_is_the_cross_entropies():
    """Written out with torch's own, for a voiced, a half voiced and an unvoiced frame."""
    network, mel = build(), frames_of(3)
    f0, aperiodicity = torch.tensor([[90.0, 200.0, 450.0]]), torch.tensor([[0.0, 0.3, 1.0]])
    voiced = torch.sigmoid((0.3 - aperiodicity) * torch.tensor(3.0).log() / 0.1)
    bins, voicing = network.logits(mel)
    targets = torch.stack([target(network, float(pitch)) for pitch in f0[0]], -1)[None]
    pitch = F.cross_entropy(bins, targets, reduction="none")
    expected = voiced * pitch + F.binary_cross_entropy(voicing.sigmoid(), voiced, reduction="none")
    torch.testing.assert_close(network.loss(mel, f0, aperiodicity), expected.mean(1))


def test_a_quarter_half_and_three_quarters_voiced():
    """Where voicing is taught: the loss is least at the share that the docstring says."""
    network, mel = build(), frames_of(1)
    for aperiodicity, share in ((0.4, 0.25), (0.3, 0.5), (0.2, 0.75)):
        said = torch.tensor(share).logit().requires_grad_()
        network.logits = lambda mel, mask=None, said=said: (torch.zeros(1, network.bins, 1), said.expand(1, 1))
        network.loss(mel, torch.tensor([[100.0]]), torch.tensor([[aperiodicity]])).sum().backward()
        assert abs(said.grad) < 1e-6


def test_pitch_of_unvoiced_frames_is_not_taught():
    network, mel = build(), frames_of(6, 2)
    aperiodicity = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]).expand(2, -1)
    f0 = torch.full((2, 6), 120.0)
    plain = network.loss(mel, f0, aperiodicity)
    assert plain.shape == (2,)
    for frames, matters in ((slice(3, 6), False), (slice(0, 3), True)):
        other = f0.clone()
        other[0, frames] = 300.0
        change = (network.loss(mel, other, aperiodicity) - plain).abs()
        assert (change[0] > 0.1 if matters else change[0] < 2e-3) and change[1] == 0


def test_a_handful_of_frames_is_learned_by_heart():
    network, mel = build(bins=60), frames_of(12)
    f0 = torch.linspace(70, 480, 12)[None]
    aperiodicity = torch.tensor([[0.0, 1.0, 0.0]]).repeat(1, 4)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        losses.append(network.loss(mel, f0, aperiodicity).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    result, voicing = network(mel)
    voiced = aperiodicity == 0
    off = (1200 * torch.log2(result / f0)).abs()
    assert losses[-1] < 0.5 * losses[0]
    assert off[voiced].max() < 15 and voicing[voiced].min() > 0.8
    assert off[~voiced].max() > 100 and voicing[~voiced].max() < 0.2


@pytest.mark.parametrize("count", [1, 200, 256, 600])
def test_tiles_are_the_whole(count):
    network, mel = build(), frames_of(count, 2)
    lengths = torch.tensor([count, max(1, count // 2)])
    with torch.no_grad():
        for tiled, whole in zip(network.tiled(mel, lengths), network(mel, lengths), strict=True):
            for k, length in enumerate(lengths.tolist()):
                torch.testing.assert_close(tiled[k, :length].float(), whole[k, :length], rtol=1e-5, atol=1e-5)
                assert (tiled[k, length:] == tiled[k, length - 1]).all()


@pytest.mark.parametrize("first", [0, 1, 255, 256, 300])
def test_a_part_of_a_clip_has_the_bits_of_the_whole(first):
    network, mel = build(channels=128, blocks=4, bins=120), frames_of(700)
    pack(network)
    around = network.receptive_field
    with torch.no_grad():
        whole, part = network.tiled(mel), network.tiled(mel[..., first : first + 290], first=first)
    inner = slice(0 if first == 0 else around, 290 - around)
    for all_frames, frames in zip(whole, part, strict=True):
        assert torch.equal(frames[:, inner], all_frames[:, first : first + 290][:, inner])
