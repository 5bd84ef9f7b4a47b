"""Changes of files: of bytes, of the values of a JSON document, of texts."""

import json
import struct
from random import Random

from models.mutated_configs import mutate as mutate_config
from models.mutated_configs import written

NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
FORMS = ("<H", ">H", "<I", ">I", "<Q", ">Q")
HEADERS = (
    b"RIFF",
    b"fLaC",
    b"OggS",
    b"ID3\x04",
    b"\xff\xfb",
    b"FORM",
    b"caff",
    b"\x93NUMPY",
    b"PK\x03\x04",
    b"{",
    b"\0",
)
# Letters, words and names that programs stumble over.
PIECES = (
    *(
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\0",
        "\x1b[2J",
        "\ufeff",
        "\u202e",
        "\u200d",
        "\ud800",
        "\U0001f3b5",
        "é",
        "e\u0301",
    ),
    *("a" * 300, "9" * 400, "-1", "1e999", "nan", "inf", "0x10", "½", "１２", "true", "null", "[[", "]]", "[[həlˈoʊ]]"),
    *("[pause 9e9]", "[pause -1]", "<drum>", "(kick:1e9)", "((((", "))))", "$1,000,000.00", "12/31/9999", "Ⅻ", "25:61"),
    *("http://a.b/" + "c" * 200, "a@b.c", "+1 (555) 000", "../../x", "/etc/passwd", "..", ".", "con", "x/../../y", "~"),
    *(
        "|",
        ";",
        ",",
        '"',
        "'",
        "\\",
        "{}",
        "{name}",
        "{0.__class__}",
        "%s",
        "%n",
        "${HOME}",
        "`id`",
        "<!--",
        "漢字かな",
        "ʼ",
    ),
)


def mutate_bytes(content: bytes, draw: Random, other: bytes = b"") -> bytes:
    """Change a file in one place or a few; `other` is one that parts may come from."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        # Most of what decides stands at the beginning, some of it at the end.
        reach = draw.choice((64, 512, len(changed), len(changed)))
        at = draw.randrange(max(1, min(reach, len(changed))))
        at = len(changed) - at if draw.random() < 0.15 else at
        span = draw.choice((1, 2, 4, 16, 256, 4096))
        draw.choice(_CHANGES)(changed, at, span, draw, other)
    return bytes(changed)


def _flip(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    if at < len(changed):
        changed[at] ^= 1 << draw.randrange(8)


def _number(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    form = draw.choice(FORMS)
    value = draw.choice((*NUMBERS, draw.getrandbits(64), len(changed))) % 2 ** (8 * struct.calcsize(form))
    changed[at : at + struct.calcsize(form)] = struct.pack(form, value)


def _cut(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    del changed[at:]


def _delete(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    del changed[at : at + span]


def _repeat(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    changed[at:at] = changed[at : at + span] * draw.choice((1, 2, 40))


def _noise(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    changed[at : at + span] = draw.randbytes(min(span, 64))


def _blank(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    changed[at : at + span] = draw.choice((b"\0", b"\xff", b"\x80", b" ")) * len(changed[at : at + span])


def _splice(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    start = draw.randrange(len(other) + 1)
    changed[at : at + span] = other[start : start + span]


def _header(changed: bytearray, at: int, span: int, draw: Random, other: bytes) -> None:
    changed[at:at] = draw.choice(HEADERS)


_CHANGES = (_flip, _flip, _number, _number, _cut, _delete, _repeat, _noise, _blank, _splice, _header)


def mutate_json(content: bytes, draw: Random) -> bytes:
    """Change values of a JSON object, seldom its bytes."""
    if draw.random() < 0.1:
        return mutate_bytes(content, draw)
    document = json.loads(content)
    try:
        changed, _ = mutate_config(document if "model" in document else {"model": document}, draw)
    except (IndexError, OverflowError):  # nothing to change, or a number that cannot be multiplied
        return mutate_bytes(content, draw)
    whole = changed if "model" in document else changed.get("model", changed)
    return written(whole).encode("utf-8", "surrogatepass")


def mutate_text(text: str, draw: Random) -> str:
    """Change a text: letters, words and lines are replaced, repeated, left out, or nasty ones put in."""
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at, span = draw.randrange(len(text) + 1), draw.choice((0, 1, 3, 10, 60))
        piece = draw.choice((draw.choice(PIECES), text[at : at + span] * 2, chr(draw.randrange(1, 0x3000)), ""))
        text = text[:at] + piece + text[at + span :]
    return text


def mutate_name(draw: Random) -> str:
    """A name that a file may have, or not."""
    return mutate_text(draw.choice(("a", "b/c", "take one", "x.wav")), draw)
