"""`Conditioner`: from a batch or a request to what a network is conditioned on.

A condition comes in one of four kinds (`nn.condition.Condition`): `tokens` for cross-attention, a global embedding
added to that of the noise level, `frames` on a slower clock, or a `signal` on the input's clock. Its conditioner is the
one place that knows it:

- *inference*: `options` declares what users may request, `parse` turns a request into a raw value;
- *data*: `fit` sees the manifest rows of all training clips once; `from_crop` takes the raw value of a training crop
  from its recording and manifest row, `collate` batches;
- *training*: `drop` replaces raw values by the null value, so that the model learns to work without (and guidance has
  something to extrapolate from);
- both: `forward` embeds a batch of raw values, once per clip and not once per step.

A conditioner is a component of a checkpoint: its constructor's arguments are attributes, its weights are saved under
`conditioners.NAME.`. A new one is a module here and an entry in `conditioners.registry`.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from audiodiff.nn.condition import Condition
from audiodiff.options import Option


class RandomRows(Protocol):
    """Random numbers of a training batch (`training.batch_random`)."""

    def uniform(self, clips: int, *shape: int) -> Tensor:
        """(clips, *shape) numbers in [0, 1)."""


@dataclass(frozen=True)
class Crop:
    """A training crop, as its dataset knows it.

    Attributes:
        clip: the manifest's row.
        start: of the crop within the recording, in samples at `sample_rate`.
        samples: of the crop that are not padding.
        length: samples of the whole recording.
        sample_rate: Hz.
        read: (start, samples) -> mono (samples,), another stretch of the same recording, zero-padded.
        random: generator keyed by the dataset's seed and the draw.
        reference: another recording of the same speaker, as a crop that is all of it; None: the data set has none.
    """

    clip: Any
    start: int
    samples: int
    length: int
    sample_rate: int
    read: Callable[[int, int], Tensor]
    random: np.random.Generator
    reference: "Crop | None" = None


class Conditioner(nn.Module, ABC):
    """Base class of conditioners; raw values are tensors unless a subclass overrides `collate` and `drop`.

    Attributes:
        name: unique within a model; key of raw values in batches.
        null: fills raw values that are not given.
        drop_entries: drop each entry of (B, N) on its own, not only whole clips.
        frame_channels, signal_channels, token_channels: M, S and D that it provides; 0 for those of other kinds.
        embedding: width of its global embedding, the network's; 0 for other kinds.
    """

    name: str
    null: float = 0.0
    drop_entries: bool = False
    frame_channels: int = 0
    signal_channels: int = 0
    token_channels: int = 0
    embedding: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to condition on, so that a model leaves it out."""
        return False

    def options(self) -> dict[str, Option]:
        """What users may request, by name; every name is a key of `conditioners.registry.OPTIONS`."""
        return {}

    def parse(self, request: Mapping[str, Any]) -> Any:
        """The raw value of one clip, null where the request has none; None if it never comes from a request.

        Raises:
            UserError: a value that this condition does not take.
        """
        return None

    def fit(self, clips: Iterable[Any]) -> None:
        """Before training: take over from the training clips, rows of a manifest, what is stored with the weights."""

    def check_initial(self, trained: "Conditioner") -> None:
        """Before training: check that the weights of another one of this kind keep their meaning in this one.

        Raises:
            UserError: they do not.
        """

    def from_crop(self, crop: Crop) -> Any:
        """The raw value of a training crop; None if it is computed from the batch's waveforms.

        Called in worker processes, on a copy without weights.
        """
        return None

    def collate(self, values: Sequence[Any]) -> Any:
        """The raw values of a batch."""
        return torch.stack(list(values))

    def drop(self, values: Tensor, unconditional: Tensor, rate: float, random: RandomRows) -> Tensor:
        """Replace raw values of a batch (B, ...) by the null value at random.

        Args:
            values: of all clips.
            unconditional: (B,) clips that lose all conditions.
            rate: share of the other clips, or of their entries (`drop_entries`), that lose this one.
            random: of the batch.
        """
        entries = values.shape[1:] if self.drop_entries else (1,) * (values.ndim - 1)
        dropped = unconditional.reshape(-1, *(1,) * len(entries)) | (random.uniform(len(values), *entries) < rate)
        return values.masked_fill(dropped.to(values.device), self.null)

    def nulled(self, values: Any) -> Any:
        """Null values in place of the raw values of a batch."""
        return self.drop(values, torch.ones(len(values), dtype=torch.bool), 0.0, _NOTHING)

    def unrequested(self, values: Any) -> Any:
        """Raw values of a batch with null in place of what users may request: what guidance steers away from."""
        return self.nulled(values)

    @abstractmethod
    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed a batch of raw values; an empty `Condition` where the batch has none."""

    def loss(self, batch: Mapping[str, Any]) -> Tensor | None:
        """(B,) auxiliary training loss on a batch; None: there is none."""
        return None


class _Zeros:
    """Random numbers for a dropout that is certain."""

    def uniform(self, clips: int, *shape: int) -> Tensor:
        return torch.zeros(clips, *shape)


_NOTHING = _Zeros()


def as_list(conditioners: Mapping[str, Conditioner | None] | Iterable[Conditioner | None]) -> list[Conditioner]:
    """The conditioners of a configuration or a list, without those that are None or empty.

    Raises:
        ValueError: two have the same name.
    """
    values = conditioners.values() if isinstance(conditioners, Mapping) else conditioners
    chosen = [conditioner for conditioner in values if conditioner is not None and not conditioner.empty]
    names = [conditioner.name for conditioner in chosen]
    if len(set(names)) < len(names):
        raise ValueError(f"conditioners must have different names, got {', '.join(names)}")
    return chosen


def raw_values(conditioners: Iterable[Conditioner], crop: Crop) -> dict[str, Any]:
    """The raw values of a training crop, by name, of the conditioners that take them from it."""
    values = {conditioner.name: conditioner.from_crop(crop) for conditioner in conditioners}
    return {name: value for name, value in values.items() if value is not None}


def without_weights(conditioners: Iterable[Conditioner]) -> list[Conditioner]:
    """Copies on the meta device, for datasets and their worker processes."""
    return [copy.deepcopy(conditioner).to("meta") for conditioner in conditioners]
