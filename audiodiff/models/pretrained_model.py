"""`PretrainedModel`: a model that is saved as a checkpoint folder and loaded from one.

A model is a class with a `TYPE`, by which its checkpoints are known, and `ARGUMENTS`, the names of its constructor's
arguments and of the attributes that hold them: from these its config is written, and the model is built again.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.construction import construct


class PretrainedModel(nn.Module):
    """A model with a `network` and possibly other parts with weights (`_parts`)."""

    TYPE: ClassVar[str]
    ARGUMENTS: ClassVar[tuple[str, ...]]
    network: Any
    conditioners: Any  # an `nn.ModuleList` of conditioners

    def __init__(self):
        super().__init__()
        self.conditioners = nn.ModuleList()

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that training changes."""
        return self.parameters()

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in self.ARGUMENTS}

    def with_arguments(self, **arguments) -> Self:
        """A model with some constructor arguments replaced; it shares the others, network and weights included."""
        return type(self)(**self.arguments() | arguments).eval()

    def save_pretrained(self, folder: str | Path, training: dict | None = None, card: str = "") -> None:
        """Write a checkpoint folder: config.json, model.safetensors, README.md."""
        stored = checkpoint.Checkpoint(self.TYPE, self.arguments(), self.weights(), training or {})
        checkpoint.save(folder, stored, card)

    def weights(self) -> dict[str, Tensor]:
        """All weights, by their names in a checkpoint."""
        return self.network.state_dict() | self.part_weights()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load the weights of a checkpoint into the network and the other parts.

        Raises:
            RuntimeError: names or shapes do not match.
        """
        parts = self.part_weights()
        self.load_parts(weights)
        _load(self.network, {name: weight for name, weight in weights.items() if name not in parts})

    def load_parts(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of a checkpoint into all parts but the network; raises as `load_weights`."""
        for name, part in self._parts().items():
            found = {key: weights[name + key] for key in part.state_dict() if name + key in weights}
            _load(part, found)

    def load_initial_weights(self, weights: dict[str, Tensor], trained: Mapping[str, Any]) -> None:
        """Load the weights of a trained model to go on from; `trained` are its constructor's arguments.

        Raises:
            RuntimeError: names or shapes do not match.
        """
        self.load_weights(weights)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read a checkpoint folder.

        Raises:
            UserError: it is missing, damaged, or a model of another type.
        """
        return cls.from_checkpoint(checkpoint.load(folder), folder)

    @classmethod
    def from_checkpoint(cls, found: checkpoint.Checkpoint, folder: str | Path) -> Self:
        """The model of a checkpoint that has been read from `folder`; raises as `from_pretrained`."""
        if found.type != cls.TYPE:
            raise UserError(
                folder, f"is a model of type {found.type!r}, not {cls.TYPE!r}", f"choose one of type {cls.TYPE!r}"
            )
        try:
            model = construct(cls, found.arguments)
            model.load_weights(found.weights)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            problem = f"config and weights do not match ({reason})"
            raise UserError(folder, problem, "export it again") from error
        return model.eval()

    def parts(self) -> dict[str, nn.Module]:
        """All modules with weights, by the prefix of their weights in a checkpoint."""
        return {"": self.network, **self._parts()}

    def _parts(self) -> dict[str, nn.Module]:
        """What is learned besides the network, by the prefix of its weights; the network's have none."""
        return {}

    def part_weights(self) -> dict[str, Tensor]:
        """Weights of all parts but the network, by their names in a checkpoint."""
        return {name + key: weight for name, part in self._parts().items() for key, weight in part.state_dict().items()}


def _load(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights into a module's parameters, or give it them where it has none yet (`checkpoint.load`)."""
    own = module.state_dict()
    cast = {name: weight.to(own[name].dtype) if name in own else weight for name, weight in weights.items()}
    module.load_state_dict(cast, assign=any(tensor.is_meta for tensor in own.values()))
