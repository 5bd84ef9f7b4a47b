"""Batches of clips of different lengths: padding with masks, and batches of similar length.

`LengthBatches` reorders an endless stream of draws so that the items of a batch are of similar length, and as many as
fill it. Like the stream of `CropDataset` it has no state: which item a draw takes is a pure function of (seed, draw),
so that any number of workers may read it, and a resumed run reads on where it stopped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

_ORDER, _BATCHES = 0, 1  # random streams: order of a pass, order of the batches of a window


class Padded(NamedTuple):
    """Tensors of different length in one.

    Attributes:
        values: (B, ..., T), zeros beyond the end of each tensor.
        lengths: (B,) of the tensors.
        mask: (B, T), True before the end of each tensor.
    """

    values: Tensor
    lengths: Tensor
    mask: Tensor


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch with its tensors on a device."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def pad(tensors: Sequence[Tensor]) -> Padded:
    """Pad tensors (..., T_i) with zeros to the longest."""
    lengths = torch.tensor([tensor.shape[-1] for tensor in tensors])
    longest = int(lengths.max())
    rows = [torch.nn.functional.pad(tensor, (0, longest - tensor.shape[-1])) for tensor in tensors]
    return Padded(torch.stack(rows), lengths, torch.arange(longest) < lengths[:, None])


def collate(items: Sequence[dict[str, Any]], fields: Mapping[str, Callable[[Sequence], Any]]) -> dict[str, Any]:
    """Collate items into a batch, as `default_collate` except for some fields.

    Args:
        items: dictionaries with the same keys.
        fields: functions that collate the values of a field, such as `pad`; names that items lack are ignored.
    """
    special = {name: function for name, function in fields.items() if name in items[0]}
    batch = default_collate([{name: value for name, value in item.items() if name not in special} for item in items])
    return batch | {name: function([item[name] for item in items]) for name, function in special.items()}


class LengthBatches:
    """An endless, stateless stream of batches of items of similar length, of at most so much length in all.

    Windows of consecutive draws are permuted, sorted by length and cut into batches of as many items as fit `budget`
    when all are padded to the longest; the batches of a window come in random order, and draws are numbered in that
    order. Which item a draw takes is a pure function of (seed, draw), and so are the batches.

    Args:
        lengths: of the items, in any unit.
        budget: largest length of a batch, padding included; a longer item is a batch of its own.
        most: largest number of items of a batch.
        window: draws that are sorted at once: more of them pad less and shuffle less.
        seed: of the stream.
    """

    def __init__(self, lengths: Sequence[float], budget: float, most: int, window: int = 512, seed: int = 0):
        self.lengths, self.seed, self.budget, self.most = np.asarray(lengths), seed, budget, most
        self.window = window
        self._number, self._batches = -1, [np.empty(0, np.int64)]

    def index(self, draw: int) -> int:
        """Index of the item that a draw takes."""
        number, place = divmod(draw, self.window)
        return int(np.concatenate(self._plan(number))[place])

    def batches(self, draw: int) -> Iterator[list[int]]:
        """Batches of draws, endlessly, from a draw on: the rest of the batch that it is in, then whole ones."""
        number = draw // self.window
        while True:
            first = number * self.window
            for items in self._plan(number):
                if first + len(items) > draw:
                    yield list(range(max(first, draw), first + len(items)))
                first += len(items)
            number += 1

    def _plan(self, number: int) -> list[np.ndarray]:
        """The items of each batch of a window, a permutation of the items of its draws."""
        if number == self._number:  # a cache of the last window, nothing else depends on it
            return self._batches
        order = self._permuted(number)
        order = order[np.argsort(self.lengths[order], kind="stable")]
        cuts, first = [], 0
        for place, length in enumerate(self.lengths[order]):
            if place > first and ((place - first + 1) * length > self.budget or place - first == self.most):
                cuts.append(place)
                first = place
        batches = np.split(order, cuts)
        shuffled = np.random.default_rng((self.seed, _BATCHES, number)).permutation(len(batches))
        self._number, self._batches = number, [batches[place] for place in shuffled]
        return self._batches

    def _permuted(self, number: int) -> np.ndarray:
        """The items of a window's draws in order: every pass over the items is a permutation keyed by (seed, pass)."""
        items = len(self.lengths)
        draws = np.arange(number * self.window, (number + 1) * self.window)
        order = np.empty(self.window, np.int64)
        for of_pass in np.unique(draws // items):
            permutation = np.random.default_rng((self.seed, _ORDER, int(of_pass))).permutation(items)
            chosen = draws // items == of_pass
            order[chosen] = permutation[draws[chosen] % items]
        return order
