"""Mel spectrograms: the spec that says which kind one is, computing, converting, reading and diagnosing them."""

from audiodiff.audio.mel.spectrogram import (
    PRESETS,
    MelSpec,
    MelSpectrogram,
    convert,
    extend,
    filterbank,
    full_scale,
    interpolation,
    magnitudes,
    spectrum,
    window,
)

__all__ = [
    "PRESETS",
    "MelSpec",
    "MelSpectrogram",
    "convert",
    "extend",
    "filterbank",
    "full_scale",
    "interpolation",
    "magnitudes",
    "spectrum",
    "window",
]
