"""Arrays of other libraries as tensors."""

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
