"""A reference clip whose timbre generated clips take over: statistics of its mel spectrogram, through a small encoder.

In training the reference is another crop of the same recording, so that the model learns what crops of a recording have
in common; of sentences it is another recording of the same speaker, whose voice is what these have in common. Level is
removed: clips are compared by their spectrum, not by how loud they were recorded.

The encoder is trained on clips of one length. A longer one is cut into windows of this length (`Reference.windows`),
whose embeddings are averaged: what is said in a window varies, the voice does not.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.audio.io import Audio, resample
from audiodiff.audio.loudness import normalize_rms
from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.conditioners.conditioner import Conditioner, Crop
from audiodiff.conditioners.mel import normalize_mel
from audiodiff.conditioners.registry import OPTIONS
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.options import Option
from audiodiff.ranges import Positive, PositiveFloat, UnitInterval

_SPEC = PRESETS["speech_16k"]
_SILENCE = 1e-4  # root mean square
_MAX_WINDOWS = 10  # of a clip, a minute of speech for windows of six seconds


class Reference(Conditioner):
    """Waveforms (B, T) of reference clips to a global embedding; NaN is unconditional.

    Args:
        seconds: of the reference that are used; shorter ones are repeated.
        hidden: width of the encoder.
        embedding: width of the network's embedding.
        share: of the training crops that have a reference.
    """

    name = "reference"
    null = math.nan

    def __init__(
        self,
        seconds: PositiveFloat = 2.0,
        hidden: Positive = 128,
        embedding: Positive = 128,
        share: UnitInterval = 1.0,
    ):
        super().__init__()
        self.seconds, self.hidden, self.embedding, self.share = seconds, hidden, embedding, share
        self.analysis = MelSpectrogram(_SPEC)
        self.encoder = nn.Sequential(
            nn.Linear(2 * _SPEC.n_mels, hidden), nn.SiLU(), nn.Linear(hidden, embedding, bias=False)
        )

    def options(self) -> dict[str, Option]:
        """The reference clip."""
        return {"reference": OPTIONS["reference"]}

    def parse(self, request: Mapping[str, Any]) -> Tensor:
        """(T,) samples of the requested clip."""
        audio = request.get("reference")
        if audio is None:
            return self.absent()
        values = self._fit(_mono(audio), audio.sample_rate)
        if values.isnan().any():
            raise _silent()
        return values

    def windows(self, audio: Audio) -> Tensor:
        """(W, T) samples of windows that cover a clip; of a minute or more, `_MAX_WINDOWS` of them, evenly spaced.

        Silent windows are left out. A clip that is no longer than one window is that of `parse`.

        Raises:
            UserError: not one clip, or a silent one.
        """
        waveform, length = _mono(audio), math.ceil(self.seconds * audio.sample_rate)
        count = min(max(1, math.ceil(len(waveform) / length)), _MAX_WINDOWS)
        starts = torch.linspace(0, max(0, len(waveform) - length), count).long().tolist()
        values = torch.stack([self._fit(waveform[start:], audio.sample_rate) for start in starts])
        audible = values[values.isfinite().all(1)]
        if not len(audible):
            raise _silent()
        return audible

    def from_crop(self, crop: Crop) -> Tensor:
        """(T,) samples of a random crop of the recording, or of another one of the same speaker; null for some."""
        if self.share < 1 and crop.random.random() >= self.share:
            return self.absent()
        return self._random_crop(crop.reference or crop)

    def absent(self) -> Tensor:
        """(T,) of a clip without a reference."""
        return torch.full((self._samples(),), self.null)

    def _random_crop(self, crop: Crop) -> Tensor:
        samples = min(math.ceil(self.seconds * crop.sample_rate), crop.length)
        start = int(crop.random.integers(crop.length - samples + 1))
        return self._fit(crop.read(start, samples), crop.sample_rate)

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `reference` (B, T): mean and standard deviation of each mel band over time."""
        waveform = batch["reference"].to(self.analysis.window.device)
        given = waveform.isfinite().all(-1, keepdim=True)
        mel = normalize_mel(self.analysis(waveform.masked_fill(~given, 0.0)), _SPEC)
        features = torch.cat([mel.mean(-1), mel.std(-1)], dim=-1).to(next(self.encoder.parameters()).dtype)
        return Condition(global_embedding=self.encoder(features) * given)

    def _samples(self) -> int:
        return round(self.seconds * _SPEC.sample_rate)

    def _fit(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """The first samples (T,) of a clip at the encoder's rate and at unit power; null if it is silent."""
        needed = math.ceil(self.seconds * sample_rate)
        values = resample(waveform[:needed].contiguous(), sample_rate, _SPEC.sample_rate)
        if not len(values) or float(values.square().mean().sqrt()) < _SILENCE:
            return self.absent()
        repeated = values.repeat(math.ceil(self._samples() / len(values)))[: self._samples()]
        return normalize_rms(repeated, silence=_SILENCE)


def _mono(audio: Any) -> Tensor:
    """(T,) samples of one clip."""
    if not isinstance(audio, Audio) or torch.atleast_2d(audio.samples).ndim != 2:
        raise UserError("reference", "expected one clip of Audio", "read it with audiodiff.audio.io.read")
    return torch.atleast_2d(audio.samples).mean(0)


def _silent() -> UserError:
    return UserError("reference", "silent or empty", "use a clip with sound")
