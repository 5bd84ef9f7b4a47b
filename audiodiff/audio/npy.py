"""Reading `.npy`: never more memory than the file has bytes, whatever its header claims, and never a pickle."""

import math
from typing import BinaryIO

import numpy as np

MOST_BYTES = 1 << 31  # of a saved mel: a day of speech
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_header(file: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape of the array in an open file, whether its first axis varies fastest, and its type; what follows is it.

    Args:
        file: at its beginning.
        size: bytes that it has.

    Raises:
        ValueError: it is no `.npy` of real numbers, or its header promises more than the file holds.
    """
    try:
        shape, columns_first, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception as error:  # A header is parsed as Python is, and raises whatever Python's parser does.
        raise ValueError("it does not begin as .npy files do") from error
    if dtype.kind not in "fiu":
        raise ValueError("it does not hold real numbers")
    wanted, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or wanted > there:
        raise ValueError(f"its header promises {wanted} bytes, the file holds {there}")
    if wanted > MOST_BYTES:
        raise ValueError(f"{wanted} bytes are more than the {MOST_BYTES} that are read at once")
    return shape, columns_first, dtype


def read_npy(file: BinaryIO, size: int) -> np.ndarray:
    """The array in an open file; arguments and errors as of `read_header`."""
    shape, columns_first, dtype = read_header(file, size)
    data = np.frombuffer(file.read(math.prod(shape) * dtype.itemsize), dtype)
    try:
        return data.reshape(shape, order="F" if columns_first else "C")
    except (OverflowError, TypeError) as error:
        raise ValueError(f"no array can have the shape {shape}") from error
