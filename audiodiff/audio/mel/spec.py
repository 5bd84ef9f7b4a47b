"""The mel spec: everything that decides the numbers in a log-mel.

A log-mel is `log(max(floor, F |X|^p))`: X the short-time Fourier transform of the padded waveform (Hann window), F a
bank of triangular filters, p the power. Every choice in this line is a field of `MelSpec`. Two mels are interchangeable
only if all fields agree: a vocoder trained on one kind turns another kind into noise without an error.

Frame k is centered at sample `spec.offset + k * hop_length`: with `center` the signal is padded by n_fft/2 on both
sides (librosa, torchaudio, Tacotron 2; offset 0, 1 + T // hop frames), without it by (n_fft - hop) / 2 (HiFi-GAN and
its descendants; offset hop/2, T // hop frames).
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from torch import Tensor

from audiodiff.errors import UserError

_CHOICES = {
    "power": (1, 2),
    "mel_scale": ("slaney", "htk"),
    "norm": ("slaney", None),
    "log_base": ("e", "10", "db"),
    "center": (True, False),
    "padding": ("reflect", "constant"),
    "version": (1,),
}
# Integers from 1; the largest keep the filter bank within a quarter of a gigabyte.
_COUNTS = {"sample_rate": 10**6, "n_fft": 2**16, "hop_length": 2**16, "win_length": 2**16, "n_mels": 2**10}
_MIN_FLOOR = 1e-30  # float32 must not underflow
_Count = TypeVar("_Count", int, Tensor)


@dataclass(frozen=True)
class MelSpec:
    """Parameters of a log-mel spectrogram.

    Attributes:
        sample_rate: Hz.
        n_fft: length of the Fourier transform, samples.
        hop_length: samples from frame to frame.
        win_length: length of the (periodic) Hann window, samples, centered in n_fft.
        n_mels: bands.
        f_min: lower edge of the first band, Hz.
        f_max: upper edge of the last band, Hz.
        power: 1 sums magnitudes, 2 sums powers.
        mel_scale: "slaney" (linear below 1 kHz; librosa) or "htk" (torchaudio's default).
        norm: "slaney" divides each filter by half its width in Hz, None leaves peaks at 1.
        log_base: "e", "10", or "db" (20 log10 of magnitudes, 10 log10 of powers).
        log_floor: smallest linear value, applied before the logarithm.
        center: padding n_fft/2 (True) or (n_fft - hop_length)/2 (False) on both sides.
        padding: "reflect" or "constant" (zeros).
        power_offset: added to re^2 + im^2 (HiFi-GAN: 1e-9).
        version: of this contract.

    Raises:
        UserError: a field is out of range.
    """

    sample_rate: int
    n_fft: int
    hop_length: int
    win_length: int
    n_mels: int
    f_min: float
    f_max: float
    power: int
    mel_scale: str
    norm: str | None
    log_base: str
    log_floor: float
    center: bool
    padding: str
    power_offset: float = 0.0
    version: int = 1

    def __post_init__(self) -> None:
        """Check every field, then the fields against each other."""
        for name, most in _COUNTS.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise UserError(f"mel spec, {name}", f"{value!r} is not an integer", f"set 1 to {most}")
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise UserError(
                    f"mel spec, {name}", f"{value!r} is not supported", f"choose one of {', '.join(map(repr, choices))}"
                )
        for name in ("f_min", "f_max", "log_floor", "power_offset"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise UserError(f"mel spec, {name}", f"{value!r} is not a finite number", "set a number")
        for name, problem in self._contradictions():
            raise UserError(f"mel spec, {name}", problem)

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            yield "f_max", f"0 <= f_min < f_max <= sample_rate / 2 does not hold for {self.f_min} and {self.f_max}"
        if self.n_mels < 2:
            yield "n_mels", "1 is below 2"
        if self.win_length > self.n_fft:
            yield "win_length", f"{self.win_length} is longer than n_fft = {self.n_fft}"
        if self.hop_length * 2 > self.win_length:
            yield "hop_length", f"{self.hop_length} is more than half of win_length = {self.win_length}"
        if self.log_floor < _MIN_FLOOR:
            yield "log_floor", f"{self.log_floor} is below {_MIN_FLOOR:g}"
        if self.power_offset < 0:
            yield "power_offset", f"{self.power_offset} is below 0"

    @property
    def bins(self) -> int:
        """Number of frequencies of the Fourier transform, from 0 to half the sample rate."""
        return self.n_fft // 2 + 1

    @property
    def pad(self) -> int:
        """Samples of padding before and after the signal."""
        return self.n_fft // 2 if self.center else (self.n_fft - self.hop_length) // 2

    @property
    def offset(self) -> int:
        """Sample at which frame 0 is centered."""
        return self.n_fft // 2 - self.pad

    def frames(self, samples: _Count) -> _Count:
        """Number of frames of a signal of `samples` samples."""
        return 1 + (samples + 2 * self.pad - self.n_fft) // self.hop_length

    @property
    def log_scale(self) -> float:
        """What the natural logarithm is multiplied by."""
        return {"e": 1.0, "10": 1 / math.log(10), "db": (20 if self.power == 1 else 10) / math.log(10)}[self.log_base]

    def compress(self, linear: Tensor) -> Tensor:
        """Linear mel -> log-mel, any shape."""
        return linear.clamp(min=self.log_floor).log() * self.log_scale

    def expand(self, mel: Tensor) -> Tensor:
        """Log-mel -> linear mel, any shape."""
        return (mel / self.log_scale).exp()

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "MelSpec":
        """The inverse of `to_dict`.

        Raises:
            UserError: not a mapping, a field is missing, unknown or out of range.
        """
        if not isinstance(values, dict):
            raise UserError("mel spec", f"is {values!r:.60}, not a mapping of fields", "write it with MelSpec.to_dict")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise UserError(
                "mel spec", f"unknown fields: {', '.join(unknown)}", f"choose among {', '.join(sorted(known))}"
            )
        if missing := sorted(known - values.keys() - {"power_offset", "version"}):
            raise UserError(
                "mel spec", f"missing fields: {', '.join(missing)}", f"or use a preset: {', '.join(PRESETS)}"
            )
        return cls(**values)

    @classmethod
    def preset(cls, name: str) -> "MelSpec":
        """The spec of this name in `PRESETS`.

        Raises:
            UserError: there is none.
        """
        if name not in PRESETS:
            raise UserError(f"mel spec {name!r}", "is not a preset", f"choose among {', '.join(PRESETS)}")
        return PRESETS[name]

    def differences(self, other: "MelSpec") -> list[str]:
        """The fields that differ from `other`, as `name: mine != theirs`; empty if the mels are interchangeable."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{name}: {mine[name]} != {theirs[name]}" for name in mine if mine[name] != theirs[name]]


_SPEECH_16K = MelSpec(
    sample_rate=16000,
    n_fft=1024,
    hop_length=256,
    win_length=1024,
    n_mels=80,
    f_min=0.0,
    f_max=8000.0,
    power=1,
    mel_scale="slaney",
    norm="slaney",
    log_base="e",
    log_floor=1e-5,
    center=True,
    padding="reflect",
)
PRESETS: dict[str, MelSpec] = {
    "speech_16k": _SPEECH_16K,
    # Half the window and half the hop: twice as many numbers, and much less left to guess (bench/mel_spec.py).
    "speech_16k_fine": replace(_SPEECH_16K, n_fft=512, hop_length=128, win_length=512),
    # HiFi-GAN (Kong et al. 2020), configuration V1, and the checkpoints that follow it.
    "hifigan_22k": MelSpec(
        sample_rate=22050,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        n_mels=80,
        f_min=0.0,
        f_max=8000.0,
        power=1,
        mel_scale="slaney",
        norm="slaney",
        log_base="e",
        log_floor=1e-5,
        center=False,
        padding="reflect",
        power_offset=1e-9,
    ),
    # Tacotron 2 and WaveGlow as published by NVIDIA: HiFi-GAN's, with centered frames and plain magnitudes.
    "tacotron2_22k": MelSpec(
        sample_rate=22050,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        n_mels=80,
        f_min=0.0,
        f_max=8000.0,
        power=1,
        mel_scale="slaney",
        norm="slaney",
        log_base="e",
        log_floor=1e-5,
        center=True,
        padding="reflect",
    ),
    # Vocos (Siuzdak 2023), the 24 kHz mel model: torchaudio's defaults.
    "vocos_24k": MelSpec(
        sample_rate=24000,
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        n_mels=100,
        f_min=0.0,
        f_max=12000.0,
        power=1,
        mel_scale="htk",
        norm=None,
        log_base="e",
        log_floor=1e-7,
        center=True,
        padding="reflect",
    ),
}


def convert(mel: Tensor, source: MelSpec, target: MelSpec) -> Tensor:
    """Convert a log-mel of any shape to another logarithm base and floor.

    Values at the floor of `source` stay there if that of `target` is lower.

    Raises:
        UserError: other fields differ.
    """
    same_numbers = replace(source, log_base=target.log_base, log_floor=target.log_floor)
    if differences := same_numbers.differences(target):
        raise UserError(
            "mel",
            f"has another mel spec: {'; '.join(differences)}",
            "compute it from audio with the other spec",
        )
    return target.compress(source.expand(mel))
