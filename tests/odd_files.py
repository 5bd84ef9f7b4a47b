"""Audio files as users have them: unfinished, cut off, joined, misnamed, in formats of all ages. Made here, from bytes.

`READ` are to be read to their end, `REFUSED` in one line that says what is wrong.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 16000, 1.5
_LAYER_3_FRAME = 576  # samples of a frame of MPEG 2, which has 16 kHz


def sound(seed: int = 0, samples: int = round(RATE * SECONDS)) -> np.ndarray:
    """A gliding tone in noise that swells, (T,) float32: no frame of a codec is like the one before."""
    t = np.arange(samples) / RATE
    noise = np.random.default_rng(seed).standard_normal(samples)
    return ((0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t) + 0.05 * noise) * np.sin(2 * t) ** 2).astype(np.float32)


def encoded(format: str, subtype: str | None = None, samples: np.ndarray | None = None, rate: int = RATE) -> bytes:
    """A whole file, as libsndfile writes it."""
    content = BytesIO()
    soundfile.write(content, sound() if samples is None else samples, rate, subtype, format=format)
    return content.getvalue()


def by_pyav(path: Path, format: str, codec: str, samples: np.ndarray, rate: int = 44100) -> Path:
    """A file as FFmpeg writes it."""
    import av

    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def decoded(*contents: bytes) -> np.ndarray:
    """The samples of whole files, one behind the other."""
    return np.concatenate([_decoded(content) for content in contents])


def _decoded(content: bytes) -> np.ndarray:
    with soundfile.SoundFile(BytesIO(content)) as file:
        if file.subtype.startswith("DWVW"):  # says that it can be sought in
            file.seekable = lambda: False
        if not file.seekable():
            return file.read(10**7, dtype="float32")
        file.seek(0)  # changes how MP3 is rounded
        return file.read(dtype="float32")


@dataclass(frozen=True)
class Odd:
    """A file: its name, its content, and what is expected of it.

    Attributes:
        samples: what it holds (T,) or (T, C); None where only its length is known.
        length: in samples, where `samples` is None.
        problem: words of the refusal; "" for a file that is read.
        remark: words of a warning; "" for none.
    """

    name: str
    content: bytes
    samples: np.ndarray | None = None
    length: int = 0
    problem: str = ""
    remark: str = ""

    def write(self, folder: Path) -> Path:
        """The file in this folder."""
        (folder / self.name).write_bytes(self.content)
        return folder / self.name


def _with_size(content: bytes, name: bytes, order: str, size: int) -> bytes:
    """A chunked file whose form and samples have another size in their headers."""
    at = content.index(name) + len(name)
    stated = struct.pack(f"{order}I", size)
    return content[:4] + stated + content[8:at] + stated + content[at + 4 :]


def _unfinished() -> list[Odd]:
    """Files whose writer was killed, or wrote into a pipe: the header's sizes are not those of what is there."""
    found = []
    for codec in ("PCM_16", "FLOAT", "IMA_ADPCM", "GSM610"):
        whole = encoded("WAV", codec)
        for size in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36):
            broken = _with_size(whole, b"data", "<", size)
            found.append(Odd(f"{codec}_states_{size:x}.wav", broken, decoded(whole)))
    whole = encoded("AIFF")
    for size in (0, 8, 0x7F000008, 0xFFFFFFFF):
        found.append(Odd(f"states_{size:x}.aiff", _with_size(whole, b"SSND", ">", size), decoded(whole)))
    return [*found, Odd("length_unknown.flac", _flac_of_unknown_length(), decoded(encoded("FLAC")))]


def _flac_of_unknown_length() -> bytes:
    content = bytearray(encoded("FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def _old() -> list[Odd]:
    """Every format and codec that libsndfile reads and users may have."""
    suffixes = {
        "WAV": ".wav",
        "WAVEX": ".wave",
        "RF64": ".rf64",
        "AIFF": ".aifc",
        "AU": ".snd",
        "CAF": ".caf",
        "W64": ".w64",
        "VOC": ".voc",
        "NIST": ".sph",
        "FLAC": ".flac",
        "OGG": ".oga",
        "MP3": ".mp3",
    }
    found = []
    for format, suffix in suffixes.items():
        for codec in soundfile.available_subtypes(format):
            try:
                whole = encoded(format, codec)
            except soundfile.LibsndfileError:  # it decodes more than it encodes
                continue
            found.append(Odd(f"{format}_{codec}{suffix}", whole, decoded(whole)))
    return found


def _xing(content: bytes) -> int:
    """Where an MP3's number of frames stands."""
    return max(content.find(b"Xing"), content.find(b"Info")) + 8


def _mpeg() -> list[Odd]:
    """MP3 without, or with a wrong number of frames, and several in one file."""
    whole = encoded("MP3")
    other = encoded("MP3", samples=sound(1, 12345))
    at = _xing(whole)
    frames = struct.unpack(">I", whole[at : at + 4])[0]
    first = whole.index(whole[:2], at)  # of the frames that hold sound

    def counting(count: int) -> bytes:
        return whole[:at] + struct.pack(">I", count) + whole[at + 4 :]

    tag = b"ID3\x04\0\0" + bytes((0, 0, 1, 0)) + b"TIT2" + bytes(124)
    both = decoded(whole, other)
    length = frames * _LAYER_3_FRAME
    return [
        Odd("no_count.mp3", whole[first:], length=length),
        Odd("count_0.mp3", counting(0), length=length),
        Odd("count_too_low.mp3", counting(frames // 2), decoded(whole)),
        Odd("count_too_high_by_its_own_frame.mp3", counting(frames + 1), decoded(whole)),
        Odd("behind_zeros.mp3", bytes(500) + whole[first:], length=length),
        Odd("joined.mp3", whole + other, both),
        Odd("joined_with_tags.mp3", tag + whole + b"TAG" + bytes(125) + tag + other, both),
        Odd("without_counts_joined.mp3", whole[first:] + whole[first:], length=2 * length),
        Odd("cut_in_its_last_frame.mp3", whole[first:-10], length=length - _LAYER_3_FRAME, remark="within a frame"),
        Odd("cut.mp3", whole[: len(whole) // 2], problem="is truncated"),
        Odd("claims_576_gib.mp3", counting(0xFFFFFFFF), problem="is truncated"),
    ]


def _ogg() -> list[Odd]:
    """Ogg of several links, and cut off."""
    found = []
    for codec, suffix in (("VORBIS", ".ogg"), ("OPUS", ".opus")):
        whole, other = encoded("OGG", codec), encoded("OGG", codec, sound(1, 23456))
        last = whole.rindex(b"OggS")
        found += [
            Odd(f"chained{suffix}", whole + other + whole, decoded(whole, other, whole)),
            Odd(f"cut{suffix}", whole[: len(whole) * 3 // 4], problem="is truncated"),
            Odd(f"without_last_page{suffix}", whole[:last], decoded(whole[:last]), remark="may have been cut off"),
            Odd(f"chained_and_cut{suffix}", whole + other[:-100], problem="is truncated"),
        ]
    return found


def _cut() -> list[Odd]:
    """The first half of files that state their length."""
    formats = {
        "WAV": ".wav",
        "RF64": ".rf64",
        "AIFF": ".aiff",
        "AU": ".au",
        "CAF": ".caf",
        "W64": ".w64",
        "VOC": ".voc",
        "NIST": ".sph",
        "FLAC": ".flac",
    }
    cut = {format: encoded(format) for format in formats}
    return [
        Odd(f"cut_{format}{formats[format]}", content[: len(content) // 2], problem="is truncated")
        for format, content in cut.items()
    ]


def _continued() -> list[Odd]:
    """More behind the samples: another file of the kind, a tag, a byte that fills up."""
    flac, other, unknown = encoded("FLAC"), encoded("FLAC", samples=sound(1, 12345)), _flac_of_unknown_length()
    tag = b"ID3\x04\0\0" + bytes((0, 0, 1, 0)) + bytes(128)
    found = [
        Odd("joined.flac", flac + flac, decoded(flac, flac)),
        Odd("joined_of_unknown_length.flac", unknown + unknown + other, decoded(flac, flac, other)),
        Odd("joined_with_tags.flac", tag + other + tag + flac, decoded(other, flac)),
        Odd("joined_and_cut.flac", flac + other[: len(other) // 2], problem="is truncated"),
        Odd("joined_of_two_rates.flac", flac + encoded("FLAC", rate=8000), problem="changes its sample rate"),
    ]
    for format, suffix in {"AU": ".au", "VOC": ".voc", "NIST": ".sph"}.items():
        for codec in ("PCM_16", "ULAW"):
            whole = encoded(format, codec)
            name, remark = f"{format}_{codec}", "after its samples, which are not read"
            found += [
                Odd(f"{name}_joined{suffix}", whole * 2, decoded(whole), remark=remark),
                Odd(
                    f"{name}_with_more_behind{suffix}",
                    whole + b"TAG" + b"\xff\x7f" * 400,
                    decoded(whole),
                    remark=remark,
                ),
                Odd(f"{name}_with_a_tag{suffix}", whole + b"TAG" + b"\xff" * 125, decoded(whole)),
            ]
    voc = encoded("VOC")
    text = b"\x05\x04\0\0abc\0"
    found += [
        Odd("two_blocks.voc", voc[:-1] + voc[26:], decoded(voc), remark="after its samples, which are not read"),
        Odd("with_text.voc", voc[:-1] + text + b"\0", decoded(voc)),
        Odd("with_text_first.voc", voc[:26] + text + voc[26:], decoded(voc)),
    ]
    little, big, long = b"note" + struct.pack("<I", 1000), b"NOTE" + struct.pack(">I", 1000), b"note" + bytes(12)
    long += struct.pack("<Q", 1024)  # with its header
    for name, pad, header in (("wav", 2, little), ("aiff", 2, big), ("caf", 1, b""), ("w64", 8, long)):
        whole = encoded(name.upper(), "PCM_24", sound(0, 10001))
        whole += bytes(-len(whole) % pad) + (header + bytes(1000) if header else b"")
        found.append(Odd(f"odd_number_of_bytes.{name}", whole, decoded(whole)))
    return found


def _others() -> list[Odd]:
    left = sound()
    antiphase = encoded("WAV", samples=np.stack([left, -left], 1))
    fast = encoded("WAV", rate=768000)
    longer = encoded("WAV") + bytes(range(256)) * 8
    flac = encoded("FLAC")
    return [
        Odd("antiphase.wav", antiphase, decoded(antiphase).mean(1), remark="cancel each other"),
        Odd("768_khz.wav", fast, decoded(fast), remark="768000 Hz"),
        Odd("with_more_behind.wav", longer, decoded(encoded("WAV")), remark="2048 bytes after"),
        Odd("joined.wav", encoded("WAV") * 2, decoded(encoded("WAV")), remark="after its samples, which are not read"),
        Odd("flac_with_id3v1.flac", flac + b"TAG" + b"x" * 125, decoded(flac)),
        Odd("flac_named.mp3", flac, decoded(flac)),
        Odd("text.wav", b"This is no sound.\n" * 100, problem="is not readable audio"),
        Odd("empty.caf", b"", problem="is empty"),
        Odd("mp4_of_nothing.m4a", b"\0\0\0\x20ftypM4A " + bytes(200), problem="MPEG-4"),
    ]


def _all() -> list[Odd]:
    return [*_unfinished(), *_old(), *_mpeg(), *_ogg(), *_cut(), *_continued(), *_others()]


ALL: Callable[[], list[Odd]] = _all
