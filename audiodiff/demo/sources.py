"""What a visitor brings: a recording, or a mel saved earlier; both become a mel of the model's own kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from audiodiff.audio.io import Audio, probe, read
from audiodiff.audio.mel import PRESETS, convert
from audiodiff.audio.mel_file import load_mel, read_spec
from audiodiff.errors import UserError
from audiodiff.synthesis.vocoder import Vocoder

MAX_SECONDS = 60
BESIDE = "in its .melspec.json"
SPECS = (BESIDE, *PRESETS)


class Source(NamedTuple):
    """What is to be resynthesised: the name to show, mel (M, F), and the recording that it was made from, if any."""

    name: str
    mel: Tensor
    original: Audio | None


def from_recording(path: str | None, vocoder: Vocoder) -> Source:
    """The mel of a recording, read at the model's sample rate.

    Raises:
        UserError: no recording, an unreadable one, or one longer than `MAX_SECONDS`.
    """
    if not path:
        raise UserError("recording", "there is none", "upload a file or record one")
    check_length(probe(path).seconds)
    audio = read(path, sample_rate=vocoder.spec.sample_rate)
    return Source(Path(path).name, vocoder.mel(audio), audio)


def from_mel(paths: Sequence[str] | None, spec: str, vocoder: Vocoder) -> Source:
    """A saved mel, converted to the model's spec where nothing but its numbers' scale differs.

    Args:
        paths: one .safetensors, or a .npy with its .melspec.json; uploads lie in separate folders, so the pair is told
            apart by suffix.
        spec: `BESIDE`, or the name of a preset for a bare .npy.
        vocoder: whose mel is wanted.

    Raises:
        UserError: none or several mels, no spec, or a spec that the model cannot use.
    """
    files = [Path(path) for path in paths or ()]
    mels = [file for file in files if file.suffix != ".json"]
    specs = [file for file in files if file.suffix == ".json"]
    if len(mels) != 1 or len(specs) > 1:
        raise UserError("saved mel", f"{len(mels)} mels and {len(specs)} specs were given", "give one mel and its spec")
    given = PRESETS[spec] if spec != BESIDE else read_spec(specs[0]) if specs else None
    mel, source = load_mel(mels[0], spec=given)
    check_length(mel.shape[-1] * source.hop_length / source.sample_rate)
    return Source(mels[0].name, convert(mel, source, vocoder.spec), None)


def check_length(seconds: float) -> None:
    """The page is for listening, not for batches."""
    if seconds > MAX_SECONDS:
        raise UserError(
            "input", f"{seconds:.0f} s is longer than {MAX_SECONDS} s", "cut it, or use `audiodiff render` instead"
        )
