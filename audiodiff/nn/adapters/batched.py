"""Low-rank updates that differ from clip to clip of a batch.

A layer is linear in its weight, (W + B_b A) x_b = W x_b + B_b (A x_b): the update of a clip is a projection of its
input to r channels, in a convolution with the same taps and stride, and a product with B_b. The weights stay as they
are.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

Factors = Mapping[str, tuple[Tensor, Tensor]]


@contextmanager
def batched_updates(layers: Mapping[str, nn.Module], factors: Factors) -> Iterator[None]:
    """Inside, layers add the update of each clip to their outputs.

    Args:
        layers: `nn.Linear` or `nn.Conv1d`, by name, whose inputs have one row per clip.
        factors: by the name of a layer, A (r, in K) of all clips and B (B, out, r) of each.
    """
    with ExitStack() as hooks:
        for name, (down, up) in factors.items():
            hooks.callback(layers[name].register_forward_hook(_hook(down, up)).remove)
        yield


def _hook(down: Tensor, up: Tensor) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
    def add(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return output + _change(layer, inputs[0], down, up)

    return add


def _change(layer: Any, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """The update's part of the output, (B, ..., out) of a linear layer and (B, out, F') of a convolution."""
    if isinstance(layer, nn.Conv1d):
        taps = down.unflatten(1, (layer.in_channels, -1))
        hidden = nn.functional.conv1d(x.contiguous(), taps, None, layer.stride, layer.padding, layer.dilation)
        return up @ hidden
    rows = x.reshape(len(x), -1, x.shape[-1])
    return (rows @ down.T @ up.transpose(1, 2)).reshape(*x.shape[:-1], -1)
