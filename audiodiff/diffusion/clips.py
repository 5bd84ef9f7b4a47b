"""Operations on batches of clips: means, linear combinations, conditions."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

Amplitude = Tensor | float


def clip_mean(values: Tensor, samples: Tensor | None = None) -> Tensor:
    """Mean of values (B, ..., T) over all but the batch, and over the first `samples` (B,) positions only: (B,)."""
    if samples is None:
        return values.flatten(1).mean(1)
    counts = samples.to(values.device).reshape(-1, *(1,) * (values.ndim - 1))
    valid = (torch.arange(values.shape[-1], device=values.device) < counts).expand_as(values)
    return (values * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)


def combine(factors: Sequence[Amplitude], tensors: Sequence[Tensor], fused: bool = False) -> Tensor:
    """The linear combination, in the dtype of the tensors; a term whose factor is the number 0 is left out.

    Args:
        factors: numbers, or tensors that broadcast.
        tensors: one for each factor; more are ignored.
        fused: whether a term is multiplied and added in one pass, with one rounding. Factors are then numbers.
    """
    total: Tensor | None = None
    for factor, tensor in zip(factors, tensors, strict=False):
        if isinstance(factor, Tensor):
            factor = factor.to(tensor)
        elif factor == 0:
            continue
        if total is None:
            total = tensor if not isinstance(factor, Tensor) and factor == 1 else factor * tensor
        else:
            total = torch.add(total, tensor, alpha=cast(float, factor)) if fused else total + factor * tensor
    return torch.zeros_like(tensors[0]) if total is None else total


def column(values: Tensor | Sequence[float], like: Tensor) -> Tensor:
    """(B,) values, or one for all clips (), as a tensor that broadcasts against `like`."""
    if not isinstance(values, Tensor):
        values = torch.tensor(values, dtype=torch.float64)
    return values.to(like).reshape((-1,) + (1,) * (like.ndim - 1))


def map_tensors(function: Callable[[Tensor], Any], cond: Any) -> Any:
    """The condition with `function` applied to it, or to its tensors if it is a dataclass or a tuple."""
    if isinstance(cond, Tensor):
        return function(cond)
    if type(cond) is tuple:
        return tuple(map_tensors(function, part) for part in cond)
    if is_dataclass(cond) and not isinstance(cond, type):
        return replace(cond, **{f.name: map_tensors(function, getattr(cond, f.name)) for f in fields(cond)})
    return cond


def join_clips(first: Any, second: Any) -> Any:
    """Concatenate two conditions along the batch; None where they differ in more than values.

    Tensors are joined along their first dimension, dataclasses field by field, tuples of one length part by part.
    """
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        alike = first.ndim and (first.shape[1:], first.dtype) == (second.shape[1:], second.dtype)
        return torch.cat([first, second]) if alike else None
    if type(first) is tuple and type(second) is tuple and len(first) == len(second):
        joined = tuple(join_clips(a, b) for a, b in zip(first, second, strict=True))
        return None if any(part is None for part in joined) else joined
    if not is_dataclass(first) or isinstance(first, type) or type(first) is not type(second):
        return None
    parts = {f.name: (getattr(first, f.name), getattr(second, f.name)) for f in fields(first)}
    both = {name: join_clips(a, b) for name, (a, b) in parts.items() if not (a is None and b is None)}
    return None if any(value is None for value in both.values()) else replace(first, **both)


def check_output(output: Tensor, shape: torch.Size | tuple[int, ...], dtype: torch.dtype, source: str) -> Tensor:
    """The output of a network or denoiser in the state's dtype; never broadcast.

    Raises:
        ValueError: the output is no tensor of real floating-point numbers of this shape; `source` names its origin.
    """
    if not isinstance(output, Tensor):
        raise ValueError(f"{source} must return a tensor of shape {tuple(shape)}, got {type(output).__name__}")
    if output.shape != shape:
        raise ValueError(f"{source} must return a tensor of shape {tuple(shape)}, got {tuple(output.shape)}")
    if not output.is_floating_point():
        raise ValueError(f"{source} must return real floating-point numbers, got {output.dtype}")
    return output.to(dtype)


def check_clips(cond: Any, x: Tensor) -> None:
    """Raise ValueError if a tensor of the condition has another number of rows than x has clips.

    Nothing is checked under `torch.compile`, which cannot trace arbitrary dataclasses.
    """
    if torch.compiler.is_compiling():
        return

    def check(tensor: Tensor) -> Tensor:
        if tensor.ndim and len(tensor) != len(x):
            raise ValueError(f"the condition has {len(tensor)} clips, the signal {len(x)}: one row for each clip")
        return tensor

    map_tensors(check, cond)
