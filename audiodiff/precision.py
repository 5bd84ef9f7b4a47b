"""float64 computation on devices that lack it (Apple GPUs): it runs on the CPU.

Elsewhere it stays on its device, since copying to the CPU would stall a GPU at every step. Results
return to the device in float32, in one step: `tensor.to(device, dtype)` and `tensor.to(like)` convert before they copy.
"""

import torch
from torch import Tensor

WITHOUT_FLOAT64 = frozenset({"mps"})


def float64_device(device: torch.device) -> torch.device:
    """The device that computes float64 for tensors of a device: itself, or the CPU."""
    return torch.device("cpu") if device.type in WITHOUT_FLOAT64 else device


def double(tensor: Tensor) -> Tensor:
    """Convert a tensor to float64, on the `float64_device` of its device."""
    return tensor.to(float64_device(tensor.device)).double()
