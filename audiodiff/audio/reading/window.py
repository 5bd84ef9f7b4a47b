"""A part of a file as a file object, so that a decoder sees a corrected or complete file."""

import io
import os
from pathlib import Path

_TAG = 128  # bytes of an ID3v1 tag


class Window(io.RawIOBase):
    """Read-only bytes [start, stop) of a file, preceded by other bytes.

    Args:
        path: the file.
        start, stop: in bytes.
        head: bytes before them.
        length: reported length; None for the true one. Otherwise, a decoder that estimates the duration from the length
            might stop before the end. The last bytes of this length, where decoders look for a tag, are zeros.
    """

    def __init__(self, path: Path, start: int, stop: int, head: bytes = b"", length: int | None = None):
        super().__init__()
        self._file = open(path, "rb")  # noqa: SIM115
        self._start, self._head, self._at = start, head, 0
        self._end = len(head) + max(stop - start, 0)
        self._length = self._end if length is None else length

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Current position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position; positions before the start become the start."""
        self._at = max(offset + (0, self._at, self._length)[whence], 0)
        return self._at

    def readinto(self, buffer) -> int:
        """Read into a buffer, up to the end of the window."""
        view = memoryview(buffer).cast("B")
        if self._length - _TAG <= self._at >= self._end:
            count = min(len(view), max(self._length - self._at, 0))
            view[:count] = bytes(count)
            self._at += count
            return count
        view = view[: max(self._end - self._at, 0)]
        head = self._head[self._at : self._at + len(view)]
        view[: len(head)] = head
        count = len(head)
        if count < len(view):
            self._file.seek(self._start + self._at + count - len(self._head))
            count += self._file.readinto(view[count:])
        self._at += count
        return count

    def close(self) -> None:
        """Close the underlying file."""
        self._file.close()
        super().close()
