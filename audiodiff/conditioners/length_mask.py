"""Lengths of the clips of a batch, which hide the padding behind short ones."""

from collections.abc import Mapping
from typing import Any

from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.nn.condition import Condition
from audiodiff.ranges import Positive


class LengthMask(Conditioner):
    """Valid samples (B,) of each clip to valid frames of the process; None is unmasked.

    Args:
        stride: samples of a frame of the process.
    """

    name = "samples"

    def __init__(self, stride: Positive = 1):
        super().__init__()
        self.stride = stride

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Of `samples` (B,), if the batch has them."""
        samples = batch.get("samples")
        return Condition(samples=None if samples is None else -(-samples // self.stride))
