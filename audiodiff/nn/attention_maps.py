"""Attention maps: what the attention of a network attends to, recorded while it runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.nn.attention import CrossAttention, SelfAttention

Maps = dict[str, list[Tensor]]


@contextmanager
def recorded_attention(module: nn.Module, prefix: str = "") -> Iterator[Maps]:
    """Inside, every evaluation of an attention below a module appends its weights to a list.

    Args:
        module: whose attention is recorded; its outputs stay what they are.
        prefix: before the names of layers.

    Yields:
        By the name of a layer, (B, heads, F, N) of each evaluation, in their order.
    """
    maps: Maps = {}
    with ExitStack() as hooks:
        for name, layer in module.named_modules():
            if isinstance(layer, SelfAttention | CrossAttention):
                hooks.callback(layer.register_forward_pre_hook(_recorder(maps, prefix + name), with_kwargs=True).remove)
        yield maps


def _recorder(maps: Maps, name: str) -> Any:
    def record(layer: Any, inputs: tuple, options: dict) -> None:
        with torch.no_grad():
            maps.setdefault(name, []).append(layer.weights(*inputs, **options).detach().float())

    return record


def pool_map(attention: Tensor, rows: int, columns: int | None = None) -> Tensor:
    """A map (F, N) with at most so many rows, means of neighbors, and columns, sums of neighbors.

    Rows that sum to 1 still do.
    """
    pooled = _sums(attention, rows)
    counts = _sums(attention.new_ones(len(attention), 1), rows)
    pooled = pooled / counts
    return pooled if columns is None else _sums(pooled.T, columns).T


def _sums(values: Tensor, bins: int) -> Tensor:
    """Sums of neighboring rows of (F, N), into at most so many bins."""
    bins = min(bins, len(values))
    place = torch.arange(len(values), device=values.device) * bins // len(values)
    return values.new_zeros(bins, *values.shape[1:]).index_add_(0, place, values)
