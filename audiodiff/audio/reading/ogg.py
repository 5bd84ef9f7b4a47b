"""Ogg: pages, logical streams, and the consecutive links of a chained file."""

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

from audiodiff.audio.reading.formats import CUT_OFF
from audiodiff.errors import UserError

_FIRST, _LAST = 2, 4  # flags of a page
_HEADER = 27
_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")


@dataclass
class Link:
    """A group of streams that begin and end together.

    Attributes:
        start, stop: in bytes.
        open: serial numbers of audio streams whose last page has not been found.
        begun: whether a page other than a first one has been found.
    """

    start: int
    stop: int
    open: set[int] = field(default_factory=set)
    begun: bool = False


def links(path: Path) -> tuple[list[Link], str]:
    """The links of a file, and a remark, "" for none.

    Raises:
        UserError: it ends within a page.
    """
    found: list[Link] = []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(b"OggS")
        while at >= 0:
            header = content[at : at + _HEADER]
            sizes = content[at + _HEADER : at + _HEADER + header[-1]] if len(header) == _HEADER else b""
            body = at + _HEADER + len(sizes)
            stop = body + sum(sizes)
            if len(header) < _HEADER or len(sizes) < header[-1] or stop > len(content):
                break
            flags, number = header[5], struct.unpack_from("<I", header, 14)[0]
            if flags & _FIRST and (not found or found[-1].begun):
                found.append(Link(at, stop))
            if found:
                _add_page(found[-1], flags, number, content[body : body + 8], stop)
            at = content.find(b"OggS", stop)
    unended = any(link.open for link in found)
    if unended and at >= 0:
        raise UserError(path, "is truncated: it ends within a page and before the end of its stream", "copy it again")
    return found, f"lacks the page that ends its stream: {CUT_OFF}" if unended else ""


def _add_page(link: Link, flags: int, number: int, body: bytes, stop: int) -> None:
    link.stop = stop
    if flags & _FIRST and body.startswith(_AUDIO):
        link.open.add(number)
    elif not flags & _FIRST:
        link.begun = True
    if flags & _LAST:
        link.open.discard(number)
