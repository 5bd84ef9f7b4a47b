"""Models with adapters: applied to a copy that shares all other weights, merged, or injected to be trained.

At inference the weights of the adapted layers are replaced, W + sum_i scale_i Delta W_i, so that an adapter costs no
time at all. Where adapters have intervals of the noise level, the weights of the network are replaced whenever the
set of adapters in force changes, a few times per sample. What the network derives from a condition is then computed at
every step, with the weights of that step; conditioners run once per sample, with all adapters.

In training an update is a parametrization of its layer (`torch.nn.utils.parametrize`), and the base is frozen.
"""

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from audiodiff.errors import UserError
from audiodiff.models.adapter import Adapter
from audiodiff.models.onnx_network import OnnxNetwork
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.adapters.update import UPDATES
from audiodiff.nn.convolution import is_packed, pack, share_packing
from audiodiff.options import real_number

ModelT = TypeVar("ModelT", bound=PretrainedModel)
_EVERYWHERE = (-math.inf, math.inf)
_LARGEST_SHARE = 4  # numbers of an adapter for each of its base: those of LoHa of full rank of square layers
_LARGEST_CHANGE = 1000.0  # of a weight, relative to its root mean square


@dataclass(frozen=True)
class AppliedAdapter:
    """An adapter as a request applies it.

    Attributes:
        adapter: loaded.
        scale: of its change; 0 disables it, 1 is as trained.
        interval: lowest and highest log-SNR of the signals that it is applied to.
    """

    adapter: Adapter
    scale: float = 1.0
    interval: tuple[float, float] = _EVERYWHERE

    def __post_init__(self):
        """Check scale and interval, and convert their numbers.

        Raises:
            UserError: one of them is not of numbers that make sense.
        """
        scale = real_number(self.scale, "adapter scale")
        if not math.isfinite(scale):
            raise UserError(f"adapter scale {self.scale!r:.40}", "is not a finite number", "give one such as 0.8")
        given = self.interval if isinstance(self.interval, tuple | list) else ()
        ends = tuple(real_number(end, "adapter interval") for end in given)
        if len(ends) != 2 or not ends[0] < ends[1]:
            problem = "is not two numbers, the lower one first"
            raise UserError(f"adapter interval {self.interval!r:.60}", problem, "give (lowest, highest)")
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "interval", ends)

    @property
    def bounded(self) -> bool:
        """Whether it is not applied at some noise levels."""
        return self.interval != _EVERYWHERE

    def record(self) -> dict[str, Any]:
        """What decides its effect, as JSON."""
        ends = [None if math.isinf(end) else end for end in self.interval]
        return {"hash": self.adapter.digest, "scale": self.scale, "interval": ends if self.bounded else None}


def weights_hash(model: PretrainedModel) -> str:
    """SHA-256 over the type of a model and the names and values of all its weights, hexadecimal."""
    digest = hashlib.sha256(model.TYPE.encode())
    for name, weight in sorted(model.weights().items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def adaptable_layers(model: PretrainedModel) -> dict[str, nn.Module]:
    """The convolutions and linear layers that training may change, by their names in a checkpoint."""
    trainable = {id(parameter) for parameter in model.trainable_parameters()}
    found: dict[str, nn.Module] = {}
    for prefix, part in model.parts().items():
        for name, layer in part.named_modules():
            if isinstance(layer, nn.Conv1d | nn.Linear) and id(_frozen_weight(layer)) in trainable:
                found[(prefix + name).rstrip(".")] = layer
    return found


def _frozen_weight(layer: nn.Module) -> Tensor:
    """The weight without its update."""
    if parametrize.is_parametrized(layer, "weight"):
        return cast(Any, layer).parametrizations["weight"].original
    return cast(Tensor, layer.weight)


def apply(model: ModelT, adapters: Sequence[AppliedAdapter]) -> ModelT:
    """A model with adapters; the model itself where none has a scale other than 0.

    Args:
        model: the base, frozen; it is not changed, and shares the weights of all other layers.
        adapters: whose changes add up.

    Raises:
        UserError: an exported model, an adapter of another base, or one whose layers or names do not fit, or whose
            changes are beyond what training makes.
    """
    active = [one for one in adapters if one.scale != 0]
    if not active:
        return model
    if isinstance(model.network, OnnxNetwork):
        fix = "merge them first: audiodiff merge MODEL --adapter DIR --out DIR, then export that"
        raise active[0].adapter.error("cannot be applied to an exported model, whose weights are fixed", fix)
    digest = weights_hash(model)
    for one in active:
        check_base(one.adapter, model, digest)
    active = [replace(one, adapter=one.adapter.loaded()) for one in active]
    shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    adapted = copy.deepcopy(model, shared)
    share_packing(adapted, model)
    layers = adaptable_layers(model)
    changes = [_changes(one, layers) for one in active]
    inside = _InForce(adapted, active, changes, layers)
    for name, layer in adaptable_layers(adapted).items():
        if any(name in change for change in changes):
            layer.weight = _parameter(inside.weight(name, range(len(active))))
            if inside.packed:
                pack(layer)
    if any(one.bounded for one in active):
        adapted.network.register_forward_pre_hook(inside)
        adapted.network.prepare = _unprepared
    _learn_names(adapted, active)
    return adapted


def _unprepared(condition: Any, x: Tensor) -> Any:
    """In place of a network's `prepare`, whose results are those of one set of weights."""
    return condition


def check_base(adapter: Adapter, model: PretrainedModel, digest: str) -> None:
    """Check that a model, whose weights have the hash `digest`, is the base of an adapter.

    Raises:
        UserError: it is not, or the adapter has more numbers than updates of full rank of all layers, whatever their
            kind; they need not be read yet.
    """
    if adapter.base_type != model.TYPE:
        problem = f"is for a model of type {adapter.base_type!r:.40}, not {model.TYPE!r}"
        raise adapter.error(problem, f"use it with its base, {adapter.base_name!r:.80}")
    if adapter.base != digest:
        name = adapter.base_name or "the model that it was trained on"
        problem = "was trained on another model (the hash of its base differs)"
        raise adapter.error(problem, f"use it with its base, {name!r:.80}")
    found, own = adapter.numbers(), sum(weight.numel() for weight in model.parameters())
    if found > _LARGEST_SHARE * own:
        problem = f"has {found:,} numbers, more than {_LARGEST_SHARE} for each of the {own:,} of its base"
        raise adapter.error(problem, "train it with a lower adapter.rank")


def _changes(one: AppliedAdapter, layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Scaled changes of weights by layer.

    Raises:
        UserError: a layer that the model does not have, an update that does not fit it, or one so large that it would
            be taken for an error of the model.
    """
    changes = {}
    for name in one.adapter.updates:
        if name not in layers:
            raise one.adapter.error(f"changes {name!r:.80}, which is no layer of this model", "export it again")
        weight = cast(Tensor, layers[name].weight).contiguous()
        try:
            changes[name] = one.scale * one.adapter.update(name, weight).change(weight)
        except ValueError as error:
            raise one.adapter.error(f"layer {name}: {error}"[:300], "export it again") from error
        change, own = _rms(changes[name]), _rms(weight)
        if not change <= _LARGEST_CHANGE * own + 1:
            problem = f"changes weights of {own:.2g} in {name} by {change:.2g} at scale {one.scale:g}"
            raise one.adapter.error(problem, "lower its scale, or train it with a lower optimizer.lr")
    return changes


def _rms(weight: Tensor) -> float:
    return float(weight.double().square().mean().sqrt())


def changes_with_noise_level(model: PretrainedModel) -> bool:
    """Whether the weights of a model change while it samples, since it has adapters of an interval."""
    return any(isinstance(hook, _InForce) for hook in model.network._forward_pre_hooks.values())


class _InForce:
    """Sets the weights of the network's layers by the adapters that are in force at a noise level.

    A forward pre-hook of the network; weights of each set of adapters are computed once.
    """

    def __init__(
        self,
        model: PretrainedModel,
        adapters: Sequence[AppliedAdapter],
        changes: Sequence[dict[str, Tensor]],
        layers: dict[str, nn.Module],
    ):
        self.adapters, self.changes, self.packed = adapters, changes, is_packed(model)
        self.base: dict[str, Tensor] = {
            name: cast(Tensor, layer.weight).detach().contiguous()  # sums in one order, packed or not
            for name, layer in layers.items()
            if any(name in change for change in changes)
        }
        own = set(model.network.modules())
        self.layers = {name: one for name, one in adaptable_layers(model).items() if name in self.base and one in own}
        self.current: tuple[int, ...] = tuple(range(len(adapters)))
        self.weights: dict[tuple[int, ...], dict[str, nn.Parameter]] = {}

    def weight(self, name: str, adapters: Sequence[int]) -> Tensor:
        """A layer's weight with some of the adapters."""
        changes = [self.changes[number][name] for number in adapters if name in self.changes[number]]
        return self.base[name] + sum(changes[1:], changes[0]) if changes else self.base[name]

    def __call__(self, network: nn.Module, inputs: tuple) -> None:
        """Before the network runs at log-SNRs (B,), which are equal for all clips."""
        level = float(inputs[1].flatten()[0])
        within = (low <= level <= high for low, high in (one.interval for one in self.adapters))
        chosen = tuple(number for number, inside in enumerate(within) if inside)
        if chosen == self.current:
            return
        if chosen not in self.weights:
            self.weights[chosen] = {name: _parameter(self.weight(name, chosen)) for name in self.layers}
        for name, layer in self.layers.items():
            layer.weight = self.weights[chosen][name]
            if self.packed:
                pack(layer)
        self.current = chosen


def _parameter(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def _learn_names(model: PretrainedModel, adapters: Sequence[AppliedAdapter]) -> None:
    """Add the words and speakers of adapters to the model's conditioners.

    A name is not a change of the model: it is added whole at any scale but 0.

    Raises:
        UserError: the model takes no prompts or has no speakers, or a name is known already.
    """
    for one in adapters:
        for kind, conditioner, what, learned in (
            ("word", "prompt", "takes no prompts", one.adapter.words),
            ("speaker", "speaker", "has no speakers", one.adapter.speakers),
        ):
            for name, vectors in learned.items():
                learner = _conditioner(model, conditioner)
                if learner is None:
                    raise one.adapter.error(f"has the {kind} {name}, and this model {what}", "use another model")
                try:
                    learner.learn(name, vectors)
                except ValueError as error:
                    raise one.adapter.error(f"{kind} {name}: {error}", "leave one of the two out") from error


def _conditioner(model: PretrainedModel, name: str) -> Any:
    return next((one for one in model.conditioners if one.name == name), None)


def inject(model: PretrainedModel, layers: Mapping[str, nn.Module], kind: str, rank: int, alpha: float) -> None:
    """Add trainable updates to layers of a model, as parametrizations of their weights.

    Raises:
        ValueError: a rank above that of a layer, which is named.
    """
    for name, layer in layers.items():
        weight = cast(Tensor, layer.weight)
        try:
            update = UPDATES[kind](weight.shape, rank, alpha)
        except ValueError as error:
            raise ValueError(f"layer {name}: {error}") from error
        parametrize.register_parametrization(layer, "weight", update.to(weight))


def load_injected(model: PretrainedModel, updates: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Set the parameters of the updates that were added to layers of a model.

    Raises:
        RuntimeError: names or shapes do not match.
    """
    for name, update in _injected(model).items():
        update.load_state_dict(dict(updates[name]))


def injected_parameters(
    model: PretrainedModel, words: Sequence[str] = (), speakers: Sequence[str] = ()
) -> list[nn.Parameter]:
    """Parameters of the updates, words and speakers that were added to a model."""
    updates = [parameter for update in _injected(model).values() for parameter in update.parameters()]
    names = [_conditioner(model, "prompt").vectors[word] for word in words]
    return updates + names + [_conditioner(model, "speaker").vector(name) for name in speakers]


def extract(model: PretrainedModel, words: Sequence[str] = (), speakers: Sequence[str] = ()) -> dict[str, Any]:
    """The values of `injected_parameters`, as the fields `updates`, `words` and `speakers` of an `Adapter`."""
    updates = {
        name: {key: _value(value) for key, value in update.named_parameters()}
        for name, update in _injected(model).items()
    }
    return {
        "updates": updates,
        "words": {word: _value(_conditioner(model, "prompt").vectors[word]) for word in words},
        "speakers": {name: _value(_conditioner(model, "speaker").vector(name)) for name in speakers},
    }


def _value(parameter: Tensor) -> Tensor:
    return parameter.detach().cpu().float()


def _injected(model: PretrainedModel) -> dict[str, nn.Module]:
    layers = adaptable_layers(model)
    found = {name: layer for name, layer in layers.items() if parametrize.is_parametrized(layer, "weight")}
    return {name: cast(Any, layer).parametrizations["weight"][0] for name, layer in found.items()}


def merge(model: ModelT, adapters: Sequence[AppliedAdapter]) -> ModelT:
    """A model of its own with adapters; it shares no weight with the base.

    Raises:
        UserError: an adapter with an interval of noise levels, or as `apply`.
    """
    for one in adapters:
        if one.bounded:
            raise one.adapter.error(
                "is applied at some noise levels only, a merged model has one set of weights",
                "merge it without an interval",
            )
    return copy.deepcopy(apply(model, adapters))
