"""Reading `.npy` files safely: no more memory than the file has bytes, whatever its header states, and no pickles."""

import math
from typing import BinaryIO

import numpy as np

MAX_BYTES = 1 << 31  # of a saved mel: a day of speech
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_header(file: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an open file: shape, whether the first axis varies fastest, and type of the array.

    Args:
        file: at its beginning; afterwards at the array.
        size: bytes of the file.

    Raises:
        ValueError: not a `.npy` of real numbers, or the header states more bytes than the file has.
    """
    try:
        shape, columns_first, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception as error:  # headers are parsed as Python literals, which raises anything
        raise ValueError("it does not start with a .npy header") from error
    if dtype.kind not in "fiu":
        raise ValueError("it does not hold real numbers")
    wanted, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or wanted > there:
        raise ValueError(f"its header states {wanted} bytes, the file has {there}")
    if wanted > MAX_BYTES:
        raise ValueError(f"{wanted} bytes exceed the limit of {MAX_BYTES}")
    return shape, columns_first, dtype


def read_npy(file: BinaryIO, size: int) -> np.ndarray:
    """Read the array of an open file; arguments and errors as of `read_header`."""
    shape, columns_first, dtype = read_header(file, size)
    data = np.frombuffer(file.read(math.prod(shape) * dtype.itemsize), dtype)
    try:
        return data.reshape(shape, order="F" if columns_first else "C")
    except (OverflowError, TypeError) as error:
        raise ValueError(f"shape {shape} is not possible") from error
