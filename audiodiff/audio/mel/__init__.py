"""Mel spectrograms: their specs, computing them, converting, loading and diagnosing mels."""

from audiodiff.audio.mel.spec import PRESETS, MelSpec, convert
from audiodiff.audio.mel.spectrogram import (
    MelSpectrogram,
    filterbank,
    full_scale,
    interpolation,
    pad_waveform,
    window,
)

__all__ = [
    "PRESETS",
    "MelSpec",
    "MelSpectrogram",
    "convert",
    "filterbank",
    "full_scale",
    "interpolation",
    "pad_waveform",
    "window",
]
