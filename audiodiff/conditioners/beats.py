"""The beats of a clip: the phase of a steady tempo, frame by frame.

A tempo alone, as one embedding for the whole clip, leaves a network to count frames: where the next beat falls follows
from it only by what lies far behind. Frames that say where in its beat each of them lies make that local. With tempo b
in beats per minute and a first beat at t_0 the phase at t is p = (t - t_0) b / 60, and the rows of a frame are
cos(2 pi p), sin(2 pi p) and 1; all are zero where the tempo is unknown. The phase is a function of absolute time, so it
goes on through whatever a clip is generated in: windows, a continuation, a region of a recording.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audiodiff.conditioners.conditioner import Conditioner, Crop
from audiodiff.conditioners.registry import OPTIONS
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.options import Option

_NOTICEABLE = 0.005  # relative change of a tempo


class Beats(Conditioner):
    """Tempo in BPM and time of a beat in seconds (B, 2) to frames (B, 3, F); NaN is unconditional."""

    name = "beats"
    null = math.nan
    frame_channels = 3

    def __init__(self):
        super().__init__()

    def options(self) -> dict[str, Option]:
        """The tempo, and where its first beat is."""
        return {name: OPTIONS[name] for name in ("tempo", "first_beat")}

    def parse(self, request: Mapping[str, Any]) -> Tensor:
        """(2,) tempo and time of the first beat, which is 0 by default.

        A loop has a whole number of beats, so the tempo of one that is implied, `loop_seconds`, is rounded to that.

        Raises:
            UserError: a value that is none, or a first beat without a tempo.

        Warns:
            UserWarning: the tempo of a loop is rounded noticeably.
        """
        tempo, first = (option.check(name, request.get(name)) for name, option in self.options().items())
        if tempo is None:
            if first is not None:
                raise UserError(f"first_beat {first:g}", "has no effect without a tempo", "add --tempo 120")
            return torch.full((2,), math.nan)
        loop = request.get("loop_seconds")
        whole = tempo if loop is None else max(round(loop * tempo / 60), 1) * 60 / loop
        if abs(whole / tempo - 1) > _NOTICEABLE:
            beats = f"{loop * whole / 60:.0f} beat{'s' * (round(loop * whole / 60) > 1)}"
            problem = f"a loop of {loop:g} s has {beats} at {whole:.4g} BPM; set --seconds to whole beats"
            warnings.warn(f"tempo {tempo:g}: {problem}", stacklevel=2)
        return torch.tensor([whole, first or 0.0])

    def from_crop(self, crop: Crop) -> Tensor:
        """(2,) of a crop, NaN if its tempo is unknown. Recordings of known tempo begin with a beat."""
        tempo = crop.clip.tempo or math.nan
        return torch.tensor([tempo, -crop.start / crop.sample_rate + 0 * tempo])

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Frames at `times` (F,), in seconds, of `beats` (B, 2)."""
        tempo, first = batch[self.name].cpu().double()[..., None].unbind(1)
        phase = 2 * math.pi * ((batch["times"] - first) * tempo / 60 % 1)  # in float64: an hour has many beats
        frames = torch.stack([phase.cos(), phase.sin(), torch.ones_like(phase)], 1)
        return Condition(frames=torch.where(tempo.isfinite()[:, None], frames, 0.0).float())
