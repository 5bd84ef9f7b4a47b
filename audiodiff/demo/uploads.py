"""Uploads of a visitor: recordings and saved mels; for a vocoder both become a mel of its spec."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from audiodiff.audio.io import Audio, read, resample
from audiodiff.audio.mel import PRESETS, convert
from audiodiff.audio.mel.file import load_mel, read_spec
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.errors import UserError
from audiodiff.pipelines.vocoder import Vocoder

MAX_SECONDS = 60
MAX_MEGABYTES = 64  # of an upload
BESIDE = "from its .melspec.json"
SPECS = (BESIDE, *PRESETS)


class MelInput(NamedTuple):
    """Input of a vocoder: the name to show, the mel (M, F), and the recording that it was computed from, if any."""

    name: str
    mel: Tensor
    original: Audio | None


def load_recording(path: str | None, vocoder: Vocoder) -> MelInput:
    """The mel of a recording, read at the model's sample rate.

    Raises:
        UserError: no recording, or as `read_upload`.
    """
    if not path:
        raise UserError("recording", "is missing", "upload a file or record one")
    audio = read_upload(path, MAX_SECONDS)
    audio = Audio(resample(audio.samples, audio.sample_rate, vocoder.sample_rate), vocoder.sample_rate)
    return MelInput(Path(path).name, vocoder.mel(audio), audio)


def load_saved_mel(paths: Sequence[str] | None, spec: str, vocoder: Vocoder) -> MelInput:
    """A saved mel, converted to the model's spec where only the scale of its values differs.

    Args:
        paths: one .safetensors, or a .npy with its .melspec.json; uploads are in separate folders, so the two are
            recognized by their suffixes.
        spec: `BESIDE`, or the name of a preset for a bare .npy.
        vocoder: that defines the mel spec.

    Raises:
        UserError: none or several mels, no spec, or a spec that the model cannot use.
    """
    files = [check_size(path) for path in (paths if isinstance(paths, Sequence) else (paths,))] if paths else []
    mels = [file for file in files if file.suffix != ".json"]
    specs = [file for file in files if file.suffix == ".json"]
    if len(mels) != 1 or len(specs) > 1:
        raise UserError(
            "saved mel", f"{len(mels)} mels and {len(specs)} specs are uploaded", "upload one mel and its spec"
        )
    given = PRESETS[spec] if spec in PRESETS else read_spec(specs[0]) if specs else None
    mel, source = load_mel(mels[0], spec=given)
    if mel.shape[-1] * source.hop_length > MAX_SECONDS * source.sample_rate:
        raise too_long(mels[0], MAX_SECONDS)
    return MelInput(mels[0].name, convert(mel, source, vocoder.spec), None)


def read_upload(path: str, longest: float, channels: int | None = None, mono: bool = False) -> Audio:
    """Read an uploaded recording at its own rate; no more of it is decoded than allowed, whatever its header says.

    Args:
        path: of the upload.
        longest: maximum length in seconds.
        channels: as of `audio.io.read`.
        mono: whether a file of one channel is read as (1, T) nevertheless.

    Raises:
        UserError: larger than `MAX_MEGABYTES`, longer than `longest`, or unreadable.
    """
    check_size(path)
    with AudioFile(path) as file:
        most = round(longest * file.sample_rate)
        audio = read(file, samples=most + 1, channels=1 if mono and file.channels == 1 else channels)
    if audio.samples.shape[-1] > most:
        raise too_long(path, longest)
    return audio


def check_size(path: Any) -> Path:
    """Check that an upload is there, and its size; uploads are deleted after a while.

    Returns:
        The path.

    Raises:
        UserError: there is no such file, or it is larger than `MAX_MEGABYTES`.
    """
    try:
        found = Path(path)
        megabytes = found.stat().st_size / 2**20
    except (OSError, TypeError, ValueError) as error:
        raise UserError("the uploaded file", "is not there any more", "upload it again") from error
    if megabytes > MAX_MEGABYTES:
        raise UserError(path, f"{megabytes:.0f} MB are more than {MAX_MEGABYTES} MB", "cut or compress the file")
    return found


def too_long(subject: object, longest: float) -> UserError:
    """Error for a clip that is too long for the demo."""
    fix = "cut the file, or use the command line (`audiodiff render`, `audiodiff generate`)"
    return UserError(subject, f"is longer than {longest:g} s", fix)
