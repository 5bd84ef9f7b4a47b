"""Files in chunks (WAV, RF64, AIFF, 8SVX, CAF, Wave64) and others that state their number of bytes of samples.

A header is written first and its sizes are filled in last. A program that was killed or wrote to a pipe leaves a size
of 0 or a huge one; a size above 4 GiB is stored without its upper half. Decoders then find no samples, or only a part.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiodiff.audio.reading.window import Window
from audiodiff.errors import UserError

_SLACK = 512  # bytes of tolerance for writers that count their headers
_PLACEHOLDERS = (0x7F000000, 1 << 31, (1 << 32) - 1)  # of an unknown length, plus or minus a header
_NEAR = 8192
# Bytes of samples in an unfinished header: AIFF counts an offset and a block size, CAF a number of edits.
_NOTHING = (0, 4, 8)
_FORMAT_CHUNKS = (b"fmt ", b"fact", b"COMM", b"FVER", b"VHDR", b"desc", b"kuki")
_MAX_FORMAT_BYTES = 1 << 16  # of such a chunk
_MAX_CHUNKS = 10_000
_VOC_NEW = 9  # type of a VOC's block of samples of any width
_VOC_EMPTY = {1: 2, _VOC_NEW: 12}  # bytes of a block without samples, by type


@dataclass(frozen=True)
class Layout:
    """Storage of chunks in a family of formats.

    Attributes:
        first: offset of the first chunk, bytes.
        name: bytes of a chunk's name.
        size: format of its size, as of `struct`.
        samples: names of chunks that hold samples.
        pad: chunks are padded to a multiple of this many bytes.
        inclusive: the size includes name and size.
    """

    first: int
    name: int
    size: str
    samples: tuple[bytes, ...]
    pad: int = 2
    inclusive: bool = False

    @property
    def header(self) -> int:
        """Bytes of name and size."""
        return self.name + struct.calcsize(self.size)


_RIFF = Layout(12, 4, "<I", (b"data",))
_FORM = Layout(12, 4, ">I", (b"SSND", b"BODY"))
_CAF = Layout(8, 4, ">q", (b"data",), pad=1)
_W64 = Layout(40, 16, "<Q", (b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a",), pad=8, inclusive=True)


def _layout(magic: bytes) -> Layout | None:
    return {b"RIFF": _RIFF, b"RF64": _RIFF, b"FORM": _FORM, b"caff": _CAF, b"riff": _W64}.get(magic)


def checked(path: Path) -> tuple[Path | Window, str]:
    """The file as a decoder should see it, and a remark, "" for none.

    Returns:
        The path if its header is right, else a window with a completed header.

    Raises:
        UserError: the header states more bytes than the file has.
    """
    with open(path, "rb") as file:
        magic = file.read(4)
        layout = _layout(magic)
        size = file.seek(0, 2)
        if layout is not None:
            return _of_chunks(path, file, layout, size)
        if magic == b".snd" and file.seek(8) and file.read(4) == bytes(4):
            return Window(path, 12, size, magic + _read(file, 4, 4) + b"\xff\xff\xff\xff"), ""  # unknown
        promised = {b".snd": _au, b"Crea": _voc, b"NIST": _nist}.get(magic, lambda file: None)(file)
    if promised is None or promised > size:
        return path, "" if promised is None else _compare(path, 0, promised, size)
    return _ending(path, promised, size)


def _ending(path: Path, end: int, size: int) -> tuple[Path | Window, str]:
    """The file up to the end of its samples, since decoders may fail on the rest or decode it.

    A few extra bytes are common and get no remark.
    """
    if size == end:
        return path, ""
    remark = f"has {size - end} bytes after its samples, which are not read" if size - end > _SLACK else ""
    return Window(path, 0, end), remark


def _of_chunks(path: Path, file: BinaryIO, layout: Layout, size: int) -> tuple[Path | Window, str]:
    found, format_chunks, long = _samples(file, layout, size)
    if found is None:
        return path, ""
    name, start, stated = found
    promised, there = stated if long is None else long, size - start
    if _unknown(promised) and promised > there:
        return path, ""
    padded = _next(layout, start - layout.header, promised)
    if promised >= there or any(_ends_in_chunks(file, layout, end, size) for end in {padded, start + promised}):
        return path, _compare(path, start, promised, size)
    if layout is _W64 and promised == 0:  # which libsndfile takes for unknown
        return path, ""
    length = promised
    if promised in _NOTHING or _unknown(promised):
        length = there
    elif long is None and there - promised >= 1 << 32:
        length = promised + ((there - promised) >> 32 << 32)
    if length > promised and layout is not _W64:
        return _completed(path, file, layout, format_chunks, (name, start, length)), ""
    return _ending(path, start + promised, size)


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _samples(
    file: BinaryIO, layout: Layout, size: int
) -> tuple[tuple[bytes, int, int] | None, dict[bytes, bytes], int | None]:
    """The chunk of samples (name, first byte, stated length), the format chunks, and the length in an RF64's ds64."""
    format_chunks: dict[bytes, bytes] = {}
    long, at = None, layout.first
    for _ in range(_MAX_CHUNKS):
        name, stated = _header(file, layout, at)
        if name is None:
            break
        if name in layout.samples:
            return (name, at + layout.header, stated), format_chunks, long
        if name in _FORMAT_CHUNKS and 0 <= stated <= _MAX_FORMAT_BYTES:
            format_chunks.setdefault(name, file.read(stated))
        elif name == b"ds64":
            content = file.read(16)
            long = struct.unpack_from("<Q", content, 8)[0] if len(content) == 16 else None
        at = _next(layout, at, stated)
        if not 0 < at < size:
            break
    return None, format_chunks, long


def _header(file: BinaryIO, layout: Layout, at: int) -> tuple[bytes | None, int]:
    file.seek(at)
    header = file.read(layout.header)
    if len(header) < layout.header:
        return None, 0
    stated = struct.unpack(layout.size, header[layout.name :])[0]
    return header[: layout.name], stated - layout.header if layout.inclusive else stated


def _next(layout: Layout, at: int, stated: int) -> int:
    return at + layout.header + -(-max(stated, 0) // layout.pad) * layout.pad


def _ends_in_chunks(file: BinaryIO, layout: Layout, at: int, size: int) -> bool:
    """Whether there are only chunks from `at` to the end, and not another file."""
    for _ in range(_MAX_CHUNKS):
        if at >= size:
            return True
        name, stated = _header(file, layout, at)
        if name is None or _layout(name[:4]) or not re.match(rb"[ -~]{4}", name):
            return False
        at = _next(layout, at, stated)
        if at > size + layout.pad:
            return False
    return False


def _completed(
    path: Path, file: BinaryIO, layout: Layout, format_chunks: dict[bytes, bytes], samples: tuple[bytes, int, int]
) -> Window:
    """Samples (name, first byte, length) with a header that states their length.

    WAV above 4 GiB becomes RF64, whose lengths have 64 bits.
    """
    name, start, length = samples
    chunks = b"".join(key + struct.pack(layout.size, len(content)) + content for key, content in format_chunks.items())
    file.seek(0)
    head = file.read(layout.first)
    form = 4 + len(chunks) + layout.header + length
    if layout is _CAF:
        head += chunks + name + struct.pack(layout.size, length)
    elif form < 1 << 32:
        magic = b"FORM" if layout is _FORM else b"RIFF"
        head = magic + struct.pack(layout.size, form) + head[8:] + chunks + name + struct.pack(layout.size, length)
    else:
        long = struct.pack("<IQQQI", 28, form + 36, length, 0, 0)
        head = b"RF64\xff\xff\xff\xff" + head[8:] + b"ds64" + long + chunks + name + b"\xff\xff\xff\xff"
    return Window(path, start, start + length, head)


def _unknown(stated: int) -> bool:
    return stated < 0 or any(abs(mark - stated) < _NEAR for mark in _PLACEHOLDERS) or stated >= 1 << 62


def _compare(path: Path, start: int, promised: int, size: int) -> str:
    missing = start + promised - size
    if missing > _SLACK:
        percent = 100 * (size - start) / promised
        problem = f"is truncated: it has {max(size - start, 0)} of {promised} bytes of samples ({percent:.0f} %)"
        raise UserError(path, problem, "copy it again, or repair its header")
    return f"lacks {missing} bytes of what its header states" if missing > 0 else ""


def _au(file: BinaryIO) -> int | None:
    """End of the samples of an AU file; None if it is not stated."""
    file.seek(4)
    header = file.read(8)
    offset, length = struct.unpack(">II", header) if len(header) == 8 else (0, 0)
    return None if length == 0 or _unknown(length) else offset + length


def _voc(file: BinaryIO) -> int | None:
    """End of the blocks of a VOC file that libsndfile decodes, including the first byte of what follows them.

    Of blocks with more than 8 bits it decodes one. None if a block does not state its length.
    """
    file.seek(20)
    offset = file.read(2)
    at = struct.unpack("<H", offset)[0] if len(offset) == 2 else 0
    end = None
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        block = file.read(4)
        if len(block) < 4 or not 1 <= block[0] <= _VOC_NEW:
            break
        length = int.from_bytes(block[1:], "little")
        if length <= _VOC_EMPTY.get(block[0], -1):  # unfinished
            return None
        end = at = at + 4 + length
        if block[0] == _VOC_NEW:
            end += max(file.seek(0, 2) - end, 0) >> 24 << 24  # the length has 24 bits, the samples may have more
            break
    if end is None:
        return None
    file.seek(end)
    following = file.read(1)
    return end + (following != b"" and following[0] <= _VOC_NEW)


def _nist(file: BinaryIO) -> int | None:
    """End of the samples of a NIST SPHERE file; None if its header does not state it."""
    file.seek(8)
    head = file.read(4096)
    fields = dict(re.findall(rb"(sample_count|channel_count|sample_n_bytes) -(?:i|s\d+) (\d{1,15})\s", head))
    header = re.match(rb"\s*(\d{1,6})\s", head)
    if header is None or len(fields) < 3 or b"shorten" in head:
        return None
    count, channels, width = (int(fields[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes"))
    return int(header[1]) + count * channels * width if count else None
