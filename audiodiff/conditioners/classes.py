"""Classes of a clip as a classifier's target: read from its labels, or from the words of its caption."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from audiodiff.conditioners.conditioner import Conditioner, Crop
from audiodiff.nn.condition import Condition


class Classes(Conditioner):
    """Multi-hot classes (B, K), which a classifier predicts; no network is conditioned on them.

    A clip has a class that is one of its labels, or all of whose words its caption, or another wording of it, has.

    Args:
        classes: K names.
    """

    name = "classes"

    def __init__(self, classes: Sequence[str]):
        super().__init__()
        self.classes = tuple(classes)

    def from_crop(self, crop: Crop) -> Tensor:
        """(K,) ones for the classes of the crop's clip."""
        found = classes_of(crop.clip, self.classes)
        return torch.tensor([float(name in found) for name in self.classes])

    def parse(self, request: Mapping[str, Any]) -> Any:
        """Nothing: classes are not requested."""
        return None

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Nothing."""
        return Condition()


def classes_of(clip: Any, classes: Sequence[str]) -> set[str]:
    """Those of the classes that a clip of a manifest has."""
    words = clip.caption_words(forms=False)
    return {name for name in classes if name in clip.labels or set(name.lower().split()) <= words}
