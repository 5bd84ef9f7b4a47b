"""Fully sharded data parallel training (FSDP): each device stores a share of weights, gradients and optimizer state.

ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054) and PyTorch FSDP (Zhao et al. 2023, arXiv 2304.11277): every tensor
of the training state is split between the devices along its first dimension. A step gathers the weights, computes
gradients of the clips of this device, and leaves each device the mean gradient of its share, which its optimizer
applies. The result is that of data parallel training, up to the order of sums. The average of the weights is split in
the same way.

`torch.distributed.fsdp.fully_shard` does this for the module as one group. Whatever needs whole weights outside of a
step (validation, samples, exports, checkpoints) gets them gathered, so that a checkpoint is that of one device and is
resumed on any number of devices with any strategy. Lightning's own strategies for it refuse CPUs (FSDP), or neither
average weights nor write such checkpoints (`ModelParallelStrategy`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from audiodiff.errors import UserError

Place = tuple[nn.Module, str, nn.Parameter]  # owner of a parameter, its name there, the parameter


class ShardedStrategy(DDPStrategy):
    """Lightning strategy of FSDP, on CPUs (gloo) and GPUs (NCCL).

    Args:
        start_method: of the processes, as of `DDPStrategy`: "popen" runs the command once a device, "fork" forks.
    """

    def __init__(self, start_method: Literal["popen", "fork"] = "popen"):
        super().__init__(start_method=start_method)

    def setup(self, trainer) -> None:
        """Shard the module, then build its optimizers, which therefore have shards of state only.

        Raises:
            UserError: a weight has no dimension to split.
        """
        assert self.accelerator is not None and isinstance(self.model, nn.Module)
        self.accelerator.setup(trainer)
        self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        if trainer.state.fn == TrainerFn.FITTING:
            self._shard(self.model)
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def _shard(self, module: nn.Module) -> None:
        if whole := [name for name, parameter in module.named_parameters() if not parameter.ndim]:
            raise UserError("trainer=fsdp", f"cannot split {whole[0]}, a single number", "set trainer=ddp")
        self._plain = type(module)
        fully_shard(module, mesh=init_device_mesh(self.root_device.type, (self.world_size,)))
        register_fsdp_forward_method(module, "training_step")

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath, storage_options=None) -> None:
        """Gather the checkpoint and write it as one device does."""
        super().save_checkpoint(tree_map_only(DTensor, whole_tensor, checkpoint), filepath, storage_options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load this device's share of the optimizers' states."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {
                number: {name: shard_like(value, parameters[number]) for name, value in values.items()}
                for number, values in saved["state"].items()
            }
            optimizer.load_state_dict(saved | {"state": state})

    def teardown(self) -> None:
        """Leave a module that is no longer sharded; its weights are whole where training ended as it should."""
        if isinstance(self.lightning_module, FSDPModule):
            self.lightning_module.__class__ = self._plain  # what `fully_shard` has changed
            del self.lightning_module.training_step  # the one that gathers
        super().teardown()


def gather(module: nn.Module, values: nn.Module | None = None) -> list[Place]:
    """Put whole weights in the places of a module's shards; all devices call it together.

    Args:
        module: any; weights that are not sharded stay.
        values: a module of the same structure whose weights are taken; None: its own.

    Returns:
        The places with their shards, for `release`.
    """
    taken = dict((values or module).named_parameters())
    whole = {  # by parameter: a shared one stays shared
        parameter: nn.Parameter(whole_tensor(taken[name].detach()), parameter.requires_grad)
        for name, parameter in module.named_parameters()
        if isinstance(parameter, DTensor)
    }
    places = [place for place in _places(module) if place[2] in whole]
    for owner, name, shard in places:
        setattr(owner, name, whole[shard])
    return places


def release(places: list[Place]) -> None:
    """Put shards back in the places of whole weights, and empty the list."""
    while places:
        owner, name, shard = places.pop()
        setattr(owner, name, shard)


@contextmanager
def whole_weights(module: nn.Module) -> Iterator[None]:
    """Whole weights in the places of a module's shards; all devices enter it together."""
    places = gather(module)
    try:
        yield
    finally:
        release(places)


def whole_tensor(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor, or a tensor as it is; all devices call it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(value: Any, parameter: Tensor) -> Any:
    """This device's share of a whole tensor if a parameter of its shape is sharded; other values as they are."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    if isinstance(value, DTensor):
        return value
    whole = value.to(parameter.device)
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)


def shard_copy(copy: nn.Module, module: nn.Module) -> None:
    """Shard the parameters of a copy of a module as the module's are; nothing where they are not."""
    shards = dict(module.named_parameters())
    split = {
        own: nn.Parameter(shard_like(own.detach(), shards[name]), own.requires_grad)
        for name, own in copy.named_parameters()
        if isinstance(shards[name], DTensor)
    }
    for owner, name, own in list(_places(copy)):
        if own in split:
            setattr(owner, name, split[own])


def _places(module: nn.Module) -> Iterator[Place]:
    """Where each parameter is; a shared one is in several places."""
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            yield owner, name, parameter
