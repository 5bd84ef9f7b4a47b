"""Where a network runs and in which precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from audiodiff.errors import UserError

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device_named(name: str | torch.device) -> torch.device:
    """The device of this name.

    Raises:
        UserError: it is not there.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name}", str(error).splitlines()[0], "use --device cpu") from error
    return device


def running_in(device: torch.device, precision: str) -> AbstractContextManager:
    """That in which the network runs."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


def checked(precision: str) -> str:
    """The precision's name, if it is one.

    Raises:
        UserError: it is not.
    """
    if precision not in PRECISIONS:
        raise UserError(precision, "is not a precision", f"choose one of {', '.join(PRECISIONS)}")
    return precision
