"""Channel pruning of the blocks of a network."""

import copy

import pytest
import torch

from audiodiff.nn import pruning
from audiodiff.nn.frontends.frontend import IdentityFrontend
from audiodiff.nn.network import Network


def make_network(block="residual", blocks=(2, 1), **arguments):
    torch.manual_seed(0)
    front = IdentityFrontend(6)
    network = Network(front, channels=[32, 16], blocks=list(blocks), embedding=8, block=block, **arguments)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def inputs(seed=1):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 64, generator=random), torch.linspace(-3, 3, 4)


def moments(network, seed=1):
    return pruning.inner_moments(network, lambda: network(*inputs(seed)))


@torch.no_grad()
def difference(network, other):
    expected, found = network(*inputs(2)), other(*inputs(2))
    return float((found - expected).square().mean() / expected.square().mean())


def blocks_of(network):
    return [block for level in network.unet.levels() for block in level]


@pytest.mark.parametrize("block", ["residual", "convnext"])
def test_a_pruned_network_is_an_ordinary_one_with_smaller_weights(block):
    network = make_network(block)
    pruned = pruning.prune_channels(network, 0.5, moments(network))
    widths = [full // 2 for full in pruning.inner_widths(network)]
    assert pruned.inner_channels == widths == pruning.inner_widths(pruned)
    assert sum(p.numel() for p in pruned.parameters()) < 0.8 * sum(p.numel() for p in network.parameters())
    again = Network(
        IdentityFrontend(6), channels=[32, 16], blocks=[2, 1], embedding=8, block=block, inner_channels=widths
    )
    again.load_state_dict(pruned.state_dict())
    assert torch.equal(again.eval()(*inputs()), pruned(*inputs()))
    touched = {id(p) for one in blocks_of(pruned) for part in one.inner_convolutions for p in part.parameters()}
    before = network.state_dict()
    same = [name for name, weight in pruned.named_parameters() if id(weight) not in touched]
    assert same and all(torch.equal(pruned.state_dict()[name], before[name]) for name in same)


def test_channels_that_do_not_change_are_removed_without_a_difference():
    network = make_network()
    with torch.no_grad():
        for block in blocks_of(network):
            writes, _ = block.inner_convolutions
            writes.weight[::2] = 0  # these put out what their bias says
    pruned = pruning.prune_channels(network, 0.5, moments(network))
    assert pruning.inner_widths(pruned) == [16, 8]
    assert difference(network, pruned) < 1e-6


def test_the_projection_fits_better_than_with_the_columns_it_had():
    network = make_network()
    data = moments(network)
    pruned = pruning.prune_channels(network, 0.3, data)
    plain = copy.deepcopy(pruned)
    with torch.no_grad():
        for name, block, width in pruning._blocks(network, pruned.inner_channels):
            _, reads = block.inner_convolutions
            columns = pruning._magnitudes(reads, data[name]).topk(width).indices.sort().values
            target = plain.get_submodule(name).inner_convolutions[1]
            target.weight.copy_(reads.weight[:, columns])
            target.bias.copy_(reads.bias)
    assert difference(network, pruned) < 0.7 * difference(network, plain)


def test_moments_are_those_of_all_frames_and_leave_no_hook():
    network = make_network(blocks=(1, 0))
    rows = []
    (block,) = blocks_of(network)[:1]
    hook = block.inner_convolutions[1].register_forward_pre_hook(lambda _, given: rows.append(given[0]))
    found = moments(network)[next(iter(moments(network)))]
    hook.remove()
    hidden = rows[0].transpose(1, 2).flatten(0, 1).double()
    assert torch.allclose(found[:-1, :-1], hidden.T @ hidden / len(hidden))
    assert torch.allclose(found[-1, :-1], hidden.mean(0)) and found[-1, -1] == 1
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(("fraction", "widths"), [(0.01, [32, 16]), (0.3, [24, 8]), (0.5, [16, 8]), (0.99, [8, 8])])
def test_widths_are_multiples_and_never_none(fraction, widths):
    assert pruning.pruned_widths(make_network(), fraction) == widths


def test_a_level_without_blocks_has_no_inner_channels():
    network = make_network(blocks=(2, 0))
    assert pruning.inner_widths(network) == [32, 0]
    pruned = pruning.prune_channels(network, 0.5, moments(network))
    assert pruning.inner_widths(pruned) == [16, 0] and pruned(*inputs()).shape == (4, 6, 64)


def test_inner_channels_are_given_for_each_level():
    with pytest.raises(ValueError, match=r"inner_channels=\[8\] must have an entry for each level"):
        make_network(inner_channels=[8])
