"""Batches of clips of different lengths: padding with masks, and length buckets.

`LengthBuckets` reorders an endless stream of draws so that the items of a batch are of similar length. Like the stream
of `CropDataset` it has no state: which item a draw takes is a pure function of (seed, draw), so that any number of
workers and ranks may read it, and a resumed run reads on where it stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

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


class LengthBuckets(Dataset):
    """An endless, stateless stream of a dataset's items, batched by length; index it with any draw >= 0.

    Every pass over the dataset is a permutation keyed by (seed, pass). Windows of `buckets` batches are sorted by
    length and cut into batches, whose order is shuffled.

    Args:
        dataset: whose items are dictionaries.
        lengths: of its items, in any unit.
        batch_size: over all ranks.
        buckets: batches of a window: more of them pad less and shuffle less.
        seed: of the stream.
    """

    def __init__(self, dataset: Dataset, lengths: Sequence[float], batch_size: int, buckets: int = 16, seed: int = 0):
        self.dataset, self.lengths, self.seed = dataset, np.asarray(lengths), seed
        self.batch_size, self.buckets = batch_size, buckets
        self._window, self._order = -1, np.empty(0, np.int64)

    def index(self, draw: int) -> int:
        """Index of the item that a draw takes."""
        window, place = divmod(draw, self.batch_size * self.buckets)
        if window != self._window:  # a cache of the last window, nothing else depends on it
            self._window, self._order = window, self._window_order(window)
        return int(self._order[place])

    def __getitem__(self, draw: int) -> dict[str, Any]:
        """The item of a draw, with the number of the `draw`."""
        return self.dataset[self.index(draw)] | {"draw": draw}

    def _window_order(self, window: int) -> np.ndarray:
        size, items = self.batch_size * self.buckets, len(self.lengths)
        draws = np.arange(window * size, (window + 1) * size)
        order = np.empty(size, np.int64)
        for number in np.unique(draws // items):
            permutation = np.random.default_rng((self.seed, _ORDER, int(number))).permutation(items)
            of_pass = draws // items == number
            order[of_pass] = permutation[draws[of_pass] % items]
        batches = order[np.argsort(self.lengths[order], kind="stable")].reshape(self.buckets, self.batch_size)
        return np.random.default_rng((self.seed, _BATCHES, window)).permutation(batches).reshape(-1)
