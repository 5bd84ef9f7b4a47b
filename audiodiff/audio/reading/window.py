"""A part of a file that looks like a file of its own, so that a decoder sees what the whole file should have been."""

import io
import os
from pathlib import Path

_TAG = 128  # bytes of an ID3v1 tag


class Window(io.RawIOBase):
    """Bytes [start, stop) of a file, read only, behind other first bytes.

    Args:
        path: of the file.
        start, stop: in bytes.
        head: what comes before them.
        length: what the window says its length is; None for the truth. A decoder that estimates a duration from the
            length would else stop before the end. Where such a decoder looks for a tag, in the last bytes of this
            length, there are zeros.
    """

    def __init__(self, path: Path, start: int, stop: int, head: bytes = b"", length: int | None = None):
        super().__init__()
        self._file = open(path, "rb")  # noqa: SIM115
        self._start, self._head, self._at = start, head, 0
        self._end = len(head) + max(stop - start, 0)
        self._length = self._end if length is None else length

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Where it is read next."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; before its beginning there is nothing."""
        self._at = max(offset + (0, self._at, self._length)[whence], 0)
        return self._at

    def readinto(self, buffer) -> int:
        """Fill a buffer; less, and in the end nothing, comes where the window ends."""
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
        """Close the file behind it."""
        self._file.close()
        super().close()
