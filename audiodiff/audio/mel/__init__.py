"""Mel spectrograms: the spec that says which kind one is, computing, converting, reading and diagnosing them."""

from audiodiff.audio.mel.spectrogram import (
    PRESETS,
    MelSpec,
    MelSpectrogram,
    convert,
    filterbank,
    full_scale,
    interpolation,
    magnitudes,
    pad_waveform,
    spectrum,
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
    "magnitudes",
    "pad_waveform",
    "spectrum",
    "window",
]
