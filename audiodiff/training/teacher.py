"""The teacher of a student: a frozen copy of the model that a run starts from.

Its weights travel in every checkpoint of the run, so that resuming depends on no folder: the one that `init_from` named
may be gone, or hold another model by then. Only what the student trains is stored; all else both have in common.
"""

import copy
import hashlib
from typing import Any

import torch
from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel


class Teacher:
    """A frozen copy of a model.

    Args:
        name: of the model that the run starts from, as the user writes it; None: random weights.
    """

    def __init__(self, name: str | None):
        self.name = name
        self._model: DiffusionModel | None = None
        self._weights: dict[str, Tensor] | None = None

    @property
    def model(self) -> DiffusionModel:
        """The copy, after `copy_from`."""
        assert self._model is not None
        return self._model

    def copy_from(self, model: DiffusionModel) -> None:
        """Become a frozen copy of a model, with the weights of the run's checkpoint if it is resumed.

        Raises:
            UserError: the run starts from random weights, which teach nothing.
        """
        if self._weights is None and self.name is None:
            raise UserError("init_from", "distillation needs a teacher to start from", "set init_from=MODEL")
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._model = copy.deepcopy(model).requires_grad_(False).eval()
        if self._weights is not None:
            self._model.load_state_dict(self._weights, strict=False)
        self._weights = {name: self._model.get_parameter(name) for name in names}

    @torch.no_grad()
    def replace(self, model: DiffusionModel) -> None:
        """Take over the weights of the student, which becomes the teacher of the next stage."""
        assert self._weights is not None
        for name, weight in self._weights.items():
            weight.copy_(model.get_parameter(name))

    def state_dict(self) -> dict[str, Any]:
        """Name, weights and their hash."""
        weights = {name: weight.detach().cpu().clone() for name, weight in (self._weights or {}).items()}
        return {"name": self.name, "hash": digest(weights), "weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the teacher of a run.

        Raises:
            UserError: the run has another teacher than the configuration names, or its weights are damaged.
        """
        if self.name not in (None, state["name"]):
            fix = f"set init_from={state['name']}, or start a new run"
            raise UserError(f"init_from {self.name}", f"the run to resume distills {state['name']}", fix)
        if digest(state["weights"]) != state["hash"]:
            fix = "resume from an earlier checkpoint"
            raise UserError("the teacher in the checkpoint", "does not match its hash", fix)
        self.name, self._weights = state["name"], state["weights"]


def digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names and weights, hexadecimal."""
    total = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        total.update(name.encode())
        total.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
