"""Audio formats, identified by the first bytes of a file, since suffixes are often wrong."""

from dataclasses import dataclass
from pathlib import Path

CUT_OFF = "it may have been cut off"  # end of remarks about files that do not state their length

_HEAD = 64


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: common name.
        suffixes: of its files.
        signatures: (offset, bytes) pairs that must all match.
        demuxer: FFmpeg's name of it; "" if only libsndfile is used.
        sndfile: whether libsndfile reads it.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[tuple[int, bytes], ...]
    demuxer: str = ""
    sndfile: bool = False


_RIFF, _RF64, _FORM = (0, b"RIFF"), (0, b"RF64"), (0, b"FORM")
MPEG = Format("MP3", (".mp3", ".mp2", ".mpga"), (), "mp3", sndfile=True)
OGG = Format("Ogg", (".ogg", ".oga", ".opus", ".ogv", ".spx"), ((0, b"OggS"),), "ogg", sndfile=True)
FLAC = Format("FLAC", (".flac",), ((0, b"fLaC"),), "flac", sndfile=True)
_AAC = Format("AAC", (".aac",), (), "aac")
FORMATS = (
    Format("WAV", (".wav", ".wave"), (_RIFF, (8, b"WAVE")), "wav", sndfile=True),
    Format("RF64", (".wav", ".wave", ".rf64"), (_RF64, (8, b"WAVE")), "wav", sndfile=True),
    FLAC,
    Format("AIFF", (".aiff", ".aif"), (_FORM, (8, b"AIFF")), "aiff", sndfile=True),
    Format("AIFF-C", (".aifc", ".aiff", ".aif"), (_FORM, (8, b"AIFC")), "aiff", sndfile=True),
    OGG,
    MPEG,
    Format("AU", (".au", ".snd"), ((0, b".snd"),), "au", sndfile=True),
    Format("CAF", (".caf",), ((0, b"caff"),), "caf", sndfile=True),
    Format("W64", (".w64",), ((0, b"riff\x2e\x91\xcf\x11"),), "w64", sndfile=True),
    Format("VOC", (".voc",), ((0, b"Creative Voice File"),), "voc", sndfile=True),
    Format("NIST SPHERE", (".sph",), ((0, b"NIST_1A"),), "nistsphere", sndfile=True),
    Format("MPEG-4", (".m4a", ".m4b", ".mp4", ".mov", ".m4v", ".3gp"), ((4, b"ftyp"),), "mov"),
    Format("Matroska", (".mkv", ".mka", ".webm"), ((0, b"\x1a\x45\xdf\xa3"),), "matroska"),
    Format("Windows Media", (".wma", ".wmv", ".asf"), ((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),), "asf"),
    _AAC,
    Format("AVI", (".avi",), (_RIFF, (8, b"AVI ")), "avi"),
    Format("Monkey's Audio", (".ape",), ((0, b"MAC "),), "ape"),
    Format("WavPack", (".wv",), ((0, b"wvpk"),), "wv"),
    Format("Musepack", (".mpc",), ((0, b"MPCK"),), "mpc8"),
    Format("Musepack", (".mpc",), ((0, b"MP+"),), "mpc"),
    Format("True Audio", (".tta",), ((0, b"TTA1"),), "tta"),
    Format("AMR", (".amr",), ((0, b"#!AMR"),), "amr"),
    Format("DSD", (".dsf",), ((0, b"DSD "),), "dsf"),
    Format("Flash Video", (".flv",), ((0, b"FLV\x01"),), "flv"),
    Format("RealMedia", (".rm", ".ra"), ((0, b".RMF"),), "rm"),
)
EXTENSIONS = tuple(dict.fromkeys(suffix for kind in FORMATS for suffix in kind.suffixes))


def format_of(path: Path) -> Format | None:
    """The format of a file's content; None if it is none of `FORMATS`."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        if head[:3] == b"ID3":  # usually MP3, but some programs put it before other formats
            file.seek(id3_bytes(head))
            return _by_signature(file.read(_HEAD)) or MPEG
    return _by_signature(head)


def _by_signature(head: bytes) -> Format | None:
    for kind in FORMATS:
        if kind.signatures and all(head[at : at + len(mark)] == mark for at, mark in kind.signatures):
            return kind
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return _AAC  # like MPEG audio, with the reserved layer
    return MPEG if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 else None


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that starts with these bytes."""
    a, b, c, d = (byte & 0x7F for byte in head[6:10].ljust(4, b"\0"))
    return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if len(head) > 5 and head[5] & 0x10 else 0)
