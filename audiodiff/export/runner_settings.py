"""What the runner of an exported vocoder (`export.runner`) reads: numbers that the package computes, as plain data.

A sampler is linear in the estimates (`diffusion.samplers`), so all that it does is a table of numbers for each count of
steps, and the runner needs neither schedules nor time grids nor objectives.
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from audiodiff.audio.griffin_lim import pseudo_inverse
from audiodiff.audio.mel import MelSpec, filterbank, full_scale, interpolation, window
from audiodiff.diffusion.objective import amplitude_scale
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.weighting import LOG_SNR_MAX
from audiodiff.models import checkpoint
from audiodiff.models.vocoder_model import VocoderModel

MAX_STEPS = 16  # tables for this many steps, or for as many as the model was validated with
LARGEST_TABLE = 64  # a setting may have more
_LOUDEST = 100.0  # amplitudes a mel may be above full scale: 40 dB


def mel_spec(spec: MelSpec) -> dict[str, Any]:
    """The spec's fields, and what follows from them."""
    return {**spec.to_dict(), "pad": spec.pad, "offset": spec.offset, "log_scale": spec.log_scale}


def settings(model: VocoderModel) -> dict[str, Any]:
    """The runner's settings of a model."""
    spec = model.mel_spec
    named = {
        one.name: {"sampler": _table_sampler(one.sampler), "steps": one.steps, "iterations": one.consistency}
        for one in model.settings
    }
    samplers = [one["sampler"] for one in named.values()]
    signals = [part.name for part in (*model.built_in, *model.conditioners) if part.signal_channels]
    return {
        "settings": named,
        "signals": signals,
        "bridge": model.bridge is not None,
        "prior": checkpoint.describe(model.prior),
        "log_floor": float(spec.compress(torch.zeros(()))),
        "loudest": float(spec.compress(torch.tensor(full_scale(spec) * _LOUDEST**spec.power))),
        "tables": {sampler: _tables(model, sampler) for sampler in dict.fromkeys(samplers)},
    }


def _table_sampler(sampler: str) -> str:
    """A sampler, or the recommended one where it is no table: with a learned variance."""
    return "recommended" if sampler == "ddpm_learned" else sampler


def _tables(model: VocoderModel, sampler: str) -> dict[str, dict[str, Any]]:
    """The tables of a sampler by number of steps."""
    own = [setting.steps for setting in model.settings if _table_sampler(setting.sampler) == sampler]
    most = min(max(MAX_STEPS, *(model.validated or ()), *own), LARGEST_TABLE)
    counts = {*range(presets.PRESETS[sampler].min_nfe, most + 1), *own}
    return {str(steps): table(model, sampler, steps) for steps in sorted(counts)}


def table(model: VocoderModel, name: str, steps: int) -> dict[str, Any]:
    """The rows of a sampler: x0 = a x + b network(x / scale, log_snr), then the next x by `samplers.table.Step`."""
    with warnings.catch_warnings(action="ignore"):  # of fewer steps than were validated
        sampler = model.sampler_for(steps, name)
    rows, one = [], (torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64))
    for step in sampler.table(model.denoiser):
        level = model.schedule.level(step.t)
        scale = float(amplitude_scale(level.alpha, level.sigma))
        row = {
            "scale": 1.0 if math.isclose(scale, 1.0) else scale,
            "log_snr": min(max(level.log_snr, -LOG_SNR_MAX), LOG_SNR_MAX),
            "x0": [
                float(model.objective.x0(prediction, x, level.alpha, level.sigma)) for x, prediction in (one, one[::-1])
            ],
        }
        rows.append(row | {name: getattr(step, name) for name in ("carry", "weights", "feature", "noise")})
    return {"noise_scale": sampler.noise_scale(model.denoiser), "rows": rows}


def arrays(model: VocoderModel) -> dict[str, Tensor]:
    """The runner's constants."""
    spec = model.mel_spec
    found = {"window": window(spec), "filterbank": filterbank(spec), "interpolation": interpolation(spec)}
    if model.prior.has_mean:
        found["pseudo_inverse"] = pseudo_inverse(spec)
    if model.excitation is not None:
        found["pitch_centers"] = model.excitation.pitch.centers
    return {name: array.float().contiguous() for name, array in found.items()}
