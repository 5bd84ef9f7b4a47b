"""Conversion of arrays and numbers of other libraries to tensors and integers."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from audiodiff.errors import UserError


def real_tensor(values: Tensor | ArrayLike, subject: str) -> Tensor:
    """Convert real numbers to a tensor without gradient; a tensor shares its memory, anything else is copied.

    Args:
        values: a tensor on any device, an array of any byte order and strides, or nested lists.
        subject: name of the values in errors.

    Raises:
        UserError: ragged lists, or other types than integers and real numbers.
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
        raise UserError(subject, f"holds {tensor.dtype}, not real numbers", "convert it to float32")
    return tensor
