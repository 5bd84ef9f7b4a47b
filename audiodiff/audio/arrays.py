"""Arrays and numbers of other libraries as tensors and integers."""

from typing import SupportsFloat

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from audiodiff.errors import UserError


def real_tensor(values: Tensor | ArrayLike, subject: str) -> Tensor:
    """Real numbers in a tensor without a gradient: of a tensor its own memory, of anything else a copy.

    Args:
        values: a tensor on any device, an array of any byte order and strides, or nested lists.
        subject: that errors name.

    Raises:
        UserError: it is ragged, or of something else than integers and real numbers.
    """
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        try:
            array = np.array(values)
            tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(subject, "is not an array of numbers", "give a tensor, a NumPy array or lists") from error
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise UserError(subject, f"holds {tensor.dtype}, not real numbers")
    return tensor


def whole_number(value: SupportsFloat, subject: str, least: int | None = None) -> int:
    """A whole number of at least `least`: of Python, NumPy or PyTorch, 4.0 too, as on the command line.

    Raises:
        UserError: another type or number.
    """
    try:
        if getattr(value, "ndim", 0) or isinstance(value, str) or (number := int(value)) != value:
            raise ValueError
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(f"{subject} {value!r:.60}", "is not a whole number", "give an integer, such as 4") from error
    if least is not None and number < least:
        raise UserError(f"{subject} {number}", f"is below {least}")
    return number
