"""Convolutions as matrix products equal those of PyTorch, whatever the layout of inputs and weights."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad

from audiodiff.nn.convolution import FrameConv1d, is_packed, pack
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network


def reference(conv: FrameConv1d, x: Tensor) -> Tensor:
    """What `nn.Conv1d` makes of the same weights, with or without gradients."""
    return nn.Conv1d.forward(conv, x)


def tiny_network() -> Network:
    torch.manual_seed(0)
    return Network(StftFrontend(1, 64, 16), channels=(8, 12), blocks=(2, 2), embedding=8)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 40),
    kernel=st.sampled_from([1, 3, 5]),
    dilation=st.integers(1, 20),
    bias=st.booleans(),
    packed=st.booleans(),
    frames_first=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_equals_conv1d(batch, frames, kernel, dilation, bias, packed, frames_first, dtype):
    torch.manual_seed(0)
    conv = FrameConv1d(5, 7, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=bias).to(dtype)
    x = random(batch, 5, frames).to(dtype)
    expected = reference(conv, x)
    if packed:
        pack(conv)
    if frames_first:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), expected.detach(), rtol=0, atol=1e-12 if dtype == torch.float64 else 2e-6)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("frames", [3, 8, 9])
def test_strides_fold_whole_frames_only(frames, packed):
    torch.manual_seed(0)
    conv = FrameConv1d(4, 6, 3, stride=3)
    if packed:
        pack(conv)
    x = random(2, 4, frames)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), reference(conv, x), rtol=0, atol=1e-6)


def test_an_output_is_frame_by_frame_in_memory_and_stays_so():
    conv = FrameConv1d(4, 4, 3, padding=1)
    with torch.no_grad():
        once = conv(random(2, 4, 10))
        assert once.transpose(1, 2).is_contiguous()
        assert (once * 2 + once).transpose(1, 2).is_contiguous()


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "bias": False},
        {"kernel_size": 3, "padding": 4, "dilation": 4},
        {"kernel_size": 2, "stride": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("frames_first", [False, True])
def test_gradients_are_those_of_conv1d(arguments, frames_first):
    torch.manual_seed(0)
    conv, x = FrameConv1d(4, 5, **arguments), random(2, 4, 10)
    plain = nn.Conv1d(4, 5, **arguments)
    plain.load_state_dict(conv.state_dict())
    found = []
    for module in (conv, plain):
        given = x.transpose(1, 2).contiguous().transpose(1, 2) if frames_first else x.clone()
        given.requires_grad_()
        module(given).square().sum().backward()
        found.append([given.grad, *(parameter.grad for parameter in module.parameters())])
    for made, expected in zip(*found, strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_packed_weights_serve_until_they_are_written(kernel):
    torch.manual_seed(0)
    conv, x = FrameConv1d(4, 5, kernel, padding=kernel // 2), random(2, 4, 10)
    pack(conv)
    copied = copy.deepcopy(conv)
    writes = (
        lambda: nn.init.normal_(conv.weight),
        lambda: conv.load_state_dict(copied.state_dict()),
        lambda: setattr(conv.weight, "data", torch.ones_like(conv.weight)),
        lambda: setattr(conv, "weight", nn.Parameter(torch.randn_like(conv.weight))),
    )
    with torch.no_grad():
        for write in writes:
            write()
            torch.testing.assert_close(conv(x), reference(conv, x), rtol=0, atol=2e-6)
            pack(conv)
            torch.testing.assert_close(conv(x), reference(conv, x), rtol=0, atol=2e-6)
        conv.weight.data.mul_(2)  # which PyTorch does not count
        pack(conv)
        torch.testing.assert_close(conv(x), reference(conv, x), rtol=0, atol=4e-6)
    again = pickle.loads(pickle.dumps(conv))
    assert torch.equal(again.weight, conv.weight)


def test_packed_weights_are_used_where_nothing_is_differentiated(packed_products):
    conv, x = FrameConv1d(4, 5, 3, padding=1), random(2, 4, 10)
    with torch.no_grad():
        assert packed_products(lambda: conv(x)) == 0
    pack(conv)
    assert packed_products(lambda: conv(x)) == 0
    with torch.no_grad():
        assert packed_products(lambda: conv(x)) == 1
        with torch.autocast("cpu", torch.bfloat16):
            assert packed_products(lambda: conv(x)) == 0


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [{"kernel_size": 1}, {"kernel_size": 3, "padding": 2, "dilation": 2}, {"kernel_size": 2, "stride": 2}],
    ids=str,
)
@pytest.mark.parametrize("of", ["x", "weight", "bias"])
def test_derivatives_along_a_tangent_are_those_of_conv1d(arguments, packed, of):
    torch.manual_seed(0)
    conv = FrameConv1d(4, 5, **arguments).requires_grad_(False)
    if packed:
        pack(conv)
    given = {"x": random(2, 4, 10), **dict(conv.named_parameters())}
    point, tangent = given[of].detach(), random(*given[of].shape)

    def call(value):
        if of == "x":
            return conv(value)
        return torch.func.functional_call(conv, {of: value}, (given["x"],))

    def plain(value):
        x, weight, bias = (given | {of: value}).values()
        return nn.functional.conv1d(x, weight, bias, conv.stride, conv.padding, conv.dilation)

    _, expected = torch.func.jvp(plain, (point,), (tangent,))
    _, found = torch.func.jvp(call, (point,), (tangent,))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    with torch.no_grad(), forward_ad.dual_level():
        made = call(forward_ad.make_dual(point, tangent))
        torch.testing.assert_close(forward_ad.unpack_dual(made).tangent, expected, rtol=0, atol=1e-5)


def test_weights_whose_writes_are_not_counted_are_not_packed():
    with torch.inference_mode():
        conv, x = FrameConv1d(4, 5, 3, padding=1), random(2, 4, 10)
        pack(conv)
        assert not is_packed(conv)
        conv.weight.mul_(2)
        torch.testing.assert_close(conv(x), reference(conv, x), rtol=0, atol=4e-6)


def test_gradients_of_the_input_of_frozen_weights():
    conv, x = FrameConv1d(4, 4, 3, padding=1).requires_grad_(False), random(1, 4, 10).requires_grad_()
    pack(conv)
    conv(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_packing_changes_neither_values_nor_shapes_nor_checkpoints():
    network = tiny_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pack(network)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    copied = copy.deepcopy(network)
    weight = copied.unet.bottom[0].dilated.weight
    assert weight.permute(2, 1, 0).is_contiguous()  # copies stay packed
    Network.load_state_dict(copied, before)
    assert weight.permute(2, 1, 0).is_contiguous()


def test_a_network_without_gradients_equals_itself_with():
    network = tiny_network()
    for parameter in network.parameters():  # its output is zero at initialization
        nn.init.normal_(parameter, std=0.1)
    x, level = random(3, network.frontend.channels, 2500), torch.tensor([-3.0, 0.0, 4.0])
    expected = network(x, level).detach()
    pack(network)
    with torch.inference_mode():
        torch.testing.assert_close(network(x, level), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_half_precision_under_autocast():
    torch.manual_seed(0)
    conv, x = FrameConv1d(16, 16, 3, padding=2, dilation=2), random(2, 16, 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = conv(x)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), reference(conv, x).detach(), rtol=0, atol=0.03)


@pytest.mark.parametrize(
    "arguments",
    [{"kernel_size": 1}, {"kernel_size": 3, "padding": 2, "dilation": 2}, {"kernel_size": 2, "stride": 2}],
)
def test_half_precision_gradients_are_those_of_single_precision(arguments):
    """One product of all taps: results and gradients are as near as bfloat16 is."""
    torch.manual_seed(0)
    conv, x = FrameConv1d(16, 24, **arguments), random(3, 16, 13).requires_grad_()
    found = {}
    for half in (False, True):
        conv.zero_grad()
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = conv(x)
        assert out.dtype == (torch.bfloat16 if half else torch.float32)
        out.float().square().sum().backward()
        found[half] = [out.detach().float(), x.grad, conv.weight.grad.clone(), conv.bias.grad.clone()]
    for half, full in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(half, full, rtol=0, atol=0.02 * float(full.abs().max()))


@pytest.mark.parametrize(
    "arguments",
    [{"groups": 2}, {"padding": 1, "dilation": 2}, {"stride": 2}, {"padding": 1, "padding_mode": "circular"}],
)
def test_other_convolutions_are_refused(arguments):
    with pytest.raises(ValueError, match="keeps or folds"):
        FrameConv1d(4, 4, 3, **arguments)
