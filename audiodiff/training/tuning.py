"""Partial fine-tuning: which weights of a model are trained, how fast, from when on, and how strongly they are held.

- `trainable` names the layers that are trained; the others are frozen.
- `rates` are discriminative learning rates, and `unfreeze` a schedule of gradual unfreezing (Howard and Ruder 2018,
  arXiv 1801.06146): a group of layers is frozen until a share of the run is done.
- `pull` is L2-SP (Li et al. 2018, arXiv 1802.01483): the penalty pull / 2 |w - w_0|^2 holds weights at those that the
  run starts from. Its gradient, pull (w - w_0), is added to that of the loss.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.errors import UserError
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.adapters.layers import select
from audiodiff.ranges import NonNegativeFloat, UnitInterval
from audiodiff.training.sharded import shard_like


class Tuning:
    """How the weights of a model are trained.

    Groups of layers are those of `nn.adapters.layers`, or beginnings of weights' names.

    Args:
        trainable: groups that are trained; None: all.
        rates: factor of the learning rate by group, 1 for the others; of two that a weight is in, the later counts.
        unfreeze: share of the run, from 0 to 1, after which a group is trained; 0 for the others.
        pull: strength of the penalty towards the weights that the run starts from.

    Raises:
        UserError: no group to train.
    """

    def __init__(
        self,
        trainable: Sequence[str] | None = None,
        rates: Mapping[str, NonNegativeFloat] | None = None,
        unfreeze: Mapping[str, UnitInterval] | None = None,
        pull: NonNegativeFloat = 0.0,
    ):
        if trainable is not None and not trainable:
            raise UserError("trainable=[]", "trains nothing", "name groups of layers such as [attention]")
        self.trainable = trainable
        self.rates, self.unfreeze, self.pull = dict(rates or {}), dict(unfreeze or {}), pull
        self.start: list[Tensor] = []  # the weights that `pull` pulls to, in the order of the parameters

    def parameters(self, model: PretrainedModel, allowed: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Those of the allowed parameters that are trained, in their order.

        Raises:
            UserError: a group that no parameter is in.
        """
        allowed = list(allowed)
        if self.trainable is None:
            return allowed
        names = _names(model)
        passing = _select("trainable", [names[id(one)] for one in allowed], self.trainable)
        chosen = {name for group in passing.values() for name in group}
        return [one for one in allowed if names[id(one)] in chosen]

    def groups(self, model: PretrainedModel, parameters: Sequence[nn.Parameter]) -> list[Any]:
        """What the optimizer is built from: the parameters, or groups of them with their rate and start.

        Raises:
            UserError: a group that no parameter is in.
        """
        if not self.rates and not self.unfreeze:
            return list(parameters)
        names = _names(model)
        order = [names[id(one)] for one in parameters]
        factors, starts = dict.fromkeys(order, 1.0), dict.fromkeys(order, 0.0)
        for option, given, values in (("rates", self.rates, factors), ("unfreeze", self.unfreeze, starts)):
            for group, passing in _select(option, order, list(given)).items():
                values.update(dict.fromkeys(passing, float(given[group])))
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, one in zip(order, parameters, strict=True):
            groups.setdefault((factors[name], starts[name]), []).append(one)
        return [{"params": members, "factor": factor, "start": start} for (factor, start), members in groups.items()]

    def remember(self, parameters: Iterable[nn.Parameter]) -> None:
        """Remember the weights that a new run starts from, if they are needed; shard those of a resumed run."""
        if self.pull and not self.start:
            self.start = [one.detach().clone() for one in parameters]
        elif self.pull:
            self.start = [shard_like(start, one) for start, one in zip(self.start, parameters, strict=True)]

    @torch.no_grad()
    def change_gradients(self, parameters: Sequence[nn.Parameter], groups: Iterable[dict], done: float) -> None:
        """Add the gradient of the penalty, and drop those of groups that are frozen still.

        Args:
            parameters: that are trained.
            groups: of the optimizer.
            done: share of the run.
        """
        if self.pull:
            pairs = zip(parameters, self.start, strict=True)
            pairs = [(one, start) for one, start in pairs if one.grad is not None]
            for one, start in pairs:
                one.grad.add_(one - start.to(one.device), alpha=self.pull)
        for group in groups:
            if done < group.get("start", 0.0):
                for one in group["params"]:
                    one.grad = None

    def state_dict(self) -> dict[str, Any]:
        """State to resume from."""
        return {"start": self.start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.start = state["start"]


def _select(option: str, names: Sequence[str], filters: Sequence[str]) -> dict[str, list[str]]:
    try:
        return select(names, filters)
    except ValueError as error:
        raise UserError(option, str(error), "correct it") from error


def _names(model: PretrainedModel) -> dict[int, str]:
    """Names of all parameters, as in a checkpoint, by their identity."""
    return {id(one): prefix + name for prefix, part in model.parts().items() for name, one in part.named_parameters()}
