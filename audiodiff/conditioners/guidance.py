"""Guidance scale as a condition, of a student that classifier-free guidance is distilled into.

A guided denoiser takes two evaluations a step. A student learns its result as one, with the scale as one more condition
(Meng et al., "On Distillation of Guided Diffusion Models", arXiv 2210.03142, section 3.1). A projection that starts at
zero makes the student begin as its teacher.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.conditioners.conditioner import Conditioner, RandomRows
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.nn.layers import ScalarEmbedding
from audiodiff.ranges import Positive, PositiveFloat


class Guidance(Conditioner):
    """Guidance scales (B, 1) to a global embedding; NaN adds nothing.

    Args:
        lowest, highest: scales that are trained; 1, the model as trained, is among them.
        embedding: width of the network's embedding.

    Raises:
        UserError: a range that is reversed or without 1.
    """

    name = "guidance"
    null = float("nan")

    def __init__(self, lowest: PositiveFloat = 1.0, highest: PositiveFloat = 4.0, embedding: Positive = 128):
        super().__init__()
        if not lowest <= 1 <= highest:
            problem = "is reversed" if lowest > highest else "does not include 1, the model as trained"
            raise UserError(f"guidance range {lowest:g} to {highest:g}", problem, "give a range such as 1 to 4")
        self.lowest, self.highest, self.embedding = lowest, highest, embedding
        self.embed = ScalarEmbedding(1, embedding)
        nn.init.zeros_(self.embed.project.weight)

    @property
    def trained(self) -> bool:
        """Whether the scale makes a difference."""
        return bool(self.embed.project.weight.detach().any())

    def parse(self, request: Mapping[str, Any]) -> Tensor:
        """(1,) the guidance scale of a request, 1 by default.

        Raises:
            UserError: a scale that is not trained.
        """
        scale = request.get("guidance_scale")
        scale = 1.0 if scale is None else float(scale)
        if not self.lowest <= scale <= self.highest:
            limits = f"{self.lowest:g} to {self.highest:g}"
            raise UserError(f"guidance_scale {scale:g}", "this model is not distilled for it", f"use {limits}")
        return torch.tensor([scale])

    def draw(self, clips: int, random: RandomRows) -> Tensor:
        """(clips,) scales of a training batch, uniform over the range."""
        return self.lowest + (self.highest - self.lowest) * random.uniform(clips)

    def unrequested(self, values: Tensor) -> Tensor:
        """Scales as they are: none of them is a request."""
        return values

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `guidance` (B, 1)."""
        if self.name not in batch:
            return Condition()
        return Condition(global_embedding=self.embed(batch[self.name].to(self.embed.project.weight.device)))


def guidance_condition(conditioners: Iterable[nn.Module]) -> Guidance | None:
    """The condition of the guidance scale among others; None if there is none."""
    return next((one for one in conditioners if isinstance(one, Guidance)), None)
