"""Components built from a config that need not be trusted: arguments of their types, memory within the weights'.

A checkpoint's weights say how large its model is. A config that asks for more must fail before the memory is taken:
inside `within`, each parameter that a layer of `torch.nn` allocates is first counted on the meta device.
"""

import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def construct(component: type, arguments: Mapping[str, Any]) -> Any:
    """Call a constructor with arguments of the types and ranges (`audiodiff.ranges`) that it names.

    Numbers are finite, and integers at most 2^53. An integer may stand for a float, True and False for 1 and 0, a list
    for any sequence.

    Raises:
        TypeError: an argument of another type or range; the message names it. Else what the constructor raises.
    """
    hints = _hints(component)
    for name, value in arguments.items():
        if name in hints and not _fits(value, hints[name]):
            raise TypeError(f"{name} is {value!r:.60}, not {_words(hints[name])}")
    return component(**arguments)


@cache
def _hints(component: type) -> dict[str, Any]:
    names = inspect.signature(component).parameters
    hints = get_type_hints(component.__init__, include_extras=True)  # type: ignore[misc]
    return {name: hint for name, hint in hints.items() if name in names}


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Annotated:
        kind, *bounds = get_args(hint)
        return _fits(value, kind) and all(_keeps(value, bound) for bound in bounds)
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(item, get_args(hint)[1]) for item in value.values())
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint in (int, float) and isinstance(value, int):
        return abs(value) <= _LARGEST
    if hint is float:
        return isinstance(value, float) and math.isfinite(value)
    return isinstance(value, hint)


_BOUNDS = {Gt: ("gt", operator.gt, "above"), Ge: ("ge", operator.ge, "at least"), Le: ("le", operator.le, "at most")}
_LARGEST = 2**53  # integers up to here are floats as well


def _keeps(value: float, bound: Gt | Ge | Le) -> bool:
    name, compare, _ = _BOUNDS[type(bound)]
    return compare(value, getattr(bound, name))


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_words(option) for option in get_args(hint))
    if get_origin(hint) is Annotated:
        kind, *bounds = get_args(hint)
        limits = (f"{_BOUNDS[type(bound)][2]} {getattr(bound, _BOUNDS[type(bound)][0])}" for bound in bounds)
        return f"{_words(kind)} {' and '.join(limits)}"
    if get_origin(hint) in (list, tuple, Sequence):
        return "list"
    return "null" if hint is NoneType else getattr(hint, "__name__", str(hint))


def within(weights: Mapping[str, Tensor], initialize: bool) -> AbstractContextManager:
    """Build a model of at most these weights: no more tensors than they are, of no more numbers in all.

    Args:
        weights: of the model.
        initialize: whether parameters get their initial values; else they stay on the meta device and take no memory.

    Raises:
        ValueError: inside, where the model grows larger.
    """
    return _Within(len(weights), sum(weight.numel() for weight in weights.values()), initialize)


def limited(tensors: int, numbers: int) -> AbstractContextManager:
    """Build a model of at most so many weights, of so many numbers in all, on the meta device; raises as `within`."""
    return _Within(tensors, numbers, initialize=False)


class _Within(TorchFunctionMode):
    """Counts parameters, which `torch.nn` allocates by `torch.empty`; buffers are small and allocated otherwise."""

    def __init__(self, tensors: int, numbers: int, initialize: bool):
        super().__init__()
        self.tensors, self.numbers, self.initialize = tensors, numbers, initialize

    def __torch_function__(self, function: Callable, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", "") == nn.init.__name__:
            # Without memory there are no values, and drawing them on the meta device loads the compiler, for seconds.
            tensor = kwargs["tensor"] if "tensor" in kwargs else args[0]
            return tensor if tensor.is_meta else function(*args, **kwargs)
        if function is not torch.empty:
            return function(*args, **kwargs)
        planned = torch.empty(*args, **kwargs | {"device": "meta"})
        self.tensors, self.numbers = self.tensors - 1, self.numbers - planned.numel()
        if min(self.tensors, self.numbers) < 0:
            raise ValueError("larger than its weights, config and weights do not match")
        return torch.empty(*args, **kwargs) if self.initialize else planned
