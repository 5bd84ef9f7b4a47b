"""MPEG audio (MP3 and its older layers): counts the frames of a file.

A file is a sequence of frames, each of which states its own size. Their number is stored only in the first frame of
most encoders (a "Xing" or "Info" header), which is missing or wrong if they wrote to a pipe. Concatenated files have
several; each part is a `Segment` with the encoder's delay and padding.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audiodiff.audio.reading.formats import CUT_OFF, id3_bytes
from audiodiff.audio.reading.window import Window
from audiodiff.errors import UserError

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz by version
_KBITS = {  # by (version 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_UNBOUNDED = 1 << 40  # bytes; longer than any file
_SYNC = re.compile(rb"\xff[\xe0-\xff]|ID3|TAG|APETAGEX")
_COUNT = 8  # bytes from a Xing header's mark to its number of frames
_HAS_COUNT = 1


class Frame(NamedTuple):
    """Content of a frame's header of four bytes.

    Attributes:
        kind: version, layer and sample rate, constant in a stream.
        size: bytes.
        samples: per channel.
        xing: offset of a Xing header in the frame; -1 in layers without.
    """

    kind: tuple[int, int, int]
    size: int
    samples: int
    xing: int


@dataclass
class Segment:
    """A stream of frames.

    Attributes:
        start, stop: in bytes.
        samples_per_frame: per channel.
        frames: number of frames, without one that only holds a Xing header.
        xing: offset of its Xing header in the file; None if there is none.
        stated: number of frames in the Xing header; 0 if there is none.
        audio: offset of the first frame with sound.
        partial: bytes of an incomplete frame at its end.
    """

    start: int
    stop: int
    samples_per_frame: int
    frames: int = 0
    xing: int | None = None
    stated: int = 0
    audio: int = -1
    partial: int = 0


def frame(head: bytes) -> Frame | None:
    """Parse a frame header of four bytes; None if it is none, and for free format, whose frames have no size."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, kbit, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbit in (0, 15) or rate == 3:
        return None
    hertz, padding = _RATES[version][rate], head[2] >> 1 & 1
    bits = 1000 * _KBITS[version == 3, layer][kbit - 1]
    samples = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    size = (12 * bits // hertz + padding) * 4 if layer == 1 else samples // 8 * bits // hertz + padding
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return Frame((version, layer, hertz), size, samples, 4 + side if layer == 3 else -1)


def segments(path: Path) -> list[Segment]:
    """The streams of a file, in order; empty if there is no frame (free format, or not MPEG audio)."""
    found: list[Segment] = []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        kind = None
        for at, one in _frames(content):
            if one is None:
                kind = None
                continue
            marked = one.xing > 0 and content[at + one.xing : at + one.xing + 4] in (b"Xing", b"Info")
            if marked or one.kind != kind:
                found.append(Segment(at, at, one.samples))
                kind = one.kind
            segment = found[-1]
            if at + one.size > len(content):
                segment.partial = len(content) - at
                break
            if marked:
                segment.xing = at + one.xing
                flags, count = struct.unpack_from(">II", content[segment.xing : segment.xing + 16].ljust(16), 4)
                segment.stated = count if flags & _HAS_COUNT else 0
            else:
                segment.audio = at if segment.audio < 0 else segment.audio
                segment.frames += 1
            segment.stop = at + one.size
    return [segment for segment in found if segment.frames]


def _frames(content: mmap.mmap) -> Iterator[tuple[int, Frame | None]]:
    """Offsets and headers of frames; None for a tag, after which another stream may begin."""
    at, size, kind = 0, len(content), None
    while at + 4 <= size:
        head = content[at : at + 10]
        one = frame(head)
        if one is not None and (one.kind == kind or _confirmed(content, at, one)):
            yield at, one
            at, kind = at + one.size, one.kind
        elif head[:3] == b"ID3":
            yield at, None
            at, kind = at + id3_bytes(head), None
        elif head[:3] == b"TAG" and size - at <= 128 * 2:
            at += 128
        elif head[:8] == b"APETAGEX":
            yield at, None
            length, _, flags = struct.unpack_from("<III", content[at + 12 : at + 24].ljust(12, b"\0"))
            at += 32 + (length if flags >> 29 & 1 else 0)
        else:
            following = _SYNC.search(content, at + 1)
            at, kind = following.start() if following else size, None


def _confirmed(content: mmap.mmap, at: int, one: Frame) -> bool:
    """Whether another frame of the kind or nothing follows, since two bytes often match by chance."""
    after = at + one.size
    if after + 4 > len(content) or content[after : after + 3] in (b"ID3", b"TAG", b"APE"):
        return True
    following = frame(content[after : after + 4])
    return following is not None and following.kind == one.kind


def checked(path: Path, segment: Segment) -> tuple[Window, int | None, str]:
    """A segment as a decoder should see it, its number of samples (None: as in its header), and a remark, "" for none.

    A wrong count in the header is corrected, so that the encoder's delay and padding still apply; without a count, only
    the end of the file ends the decoding.

    Raises:
        UserError: the header states more frames than there are.
    """
    counted = segment.frames * segment.samples_per_frame
    beyond = segment.stated - segment.frames
    if beyond > 1 or (beyond == 1 and segment.partial):
        promised = segment.stated * segment.samples_per_frame
        raise UserError(path, f"is truncated: it holds {counted} of {promised} samples", "copy it again")
    remark = f"ends within a frame: {CUT_OFF}" if segment.partial else ""
    if segment.xing is None:
        return Window(path, segment.start, segment.stop, length=_UNBOUNDED), counted, remark
    if segment.stated == 0:
        return Window(path, segment.audio, segment.stop, length=_UNBOUNDED), counted, remark
    with open(path, "rb") as file:
        file.seek(segment.start)
        head = bytearray(file.read(segment.xing + _COUNT + 4 - segment.start))
    struct.pack_into(">I", head, len(head) - 4, segment.frames)
    return Window(path, segment.start + len(head), segment.stop, bytes(head)), None, remark
