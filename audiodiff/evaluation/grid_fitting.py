"""Fit time grids to the spectrum of a model's data and validate them on its network.

A fit only knows the variances of Gaussian modes (`evaluation.modes`), not the network. Each fitted grid is therefore
validated: clips are sampled from the same noise with many steps, with few steps on the sampler's default grid, and with
few steps on the fitted grid. The fitted grid is stored if its clips are closer to those of many steps.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.diffusion.grids import fitted as fitted_grid
from audiodiff.diffusion.grids.fitted import Spectrum
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.samplers.presets import build, chosen
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.setting import nearest_steps
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.pipeline import Pipeline
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.pipelines.vocoder import Vocoder

REFERENCE_STEPS = 100

# Clips (T,) sampled by a pipeline with a sampler and a number of steps, each time from the same noise.
Sampling = Callable[[Pipeline, str, int], list[Tensor]]


@dataclass(frozen=True)
class Fit:
    """Result of a fit.

    Attributes:
        grid: the fitted grid.
        errors: `fitted_grid.error` on the spectrum, of the sampler's default grid and of the fitted one.
        distances: multi-resolution STFT distance to `REFERENCE_STEPS` steps, of the default grid and of the fitted one;
            None without validation.
    """

    grid: StoredGrid
    errors: tuple[float, float]
    distances: tuple[float, float] | None = None

    @property
    def better(self) -> bool:
        """Whether the fitted grid has the smaller distance (without validation: the smaller error)."""
        default, fitted = self.distances or self.errors
        return fitted < default


def fit_grids(
    pipeline: Pipeline,
    spectrum: Spectrum,
    steps: Iterable[int],
    sampler: str | None = None,
    sampling: Sampling | None = None,
) -> Iterator[Fit]:
    """Fit a grid for each number of steps, and validate it.

    Args:
        pipeline: provides the network, the schedule and the start time.
        spectrum: variances of the data's modes.
        steps: numbers of steps to fit a grid for.
        sampler: name of a deterministic sampler; None: the model's own.
        sampling: samples the clips of the validation (`sample_recordings`, `sample_seeds`); None: no validation.

    Raises:
        UserError: an unknown or a stochastic sampler, or too few steps for it.
    """
    plain, denoiser = _with_grids(pipeline, ()), pipeline.model.denoiser
    references = sampling(plain, "recommended", REFERENCE_STEPS) if sampling else []
    for count in steps:
        name = chosen(sampler or pipeline.model.sampler, count)
        default = build(name, count)
        if default.stochastic:
            raise UserError(f"sampler {name}", "is stochastic: no grid can be fitted to it", "choose another --sampler")
        schedule, start = denoiser.schedule, default.grid_for(denoiser)
        times = fitted_grid.fit_grid(default, schedule, spectrum, denoiser.t_max)
        errors = tuple(fitted_grid.error(default, schedule, grid, spectrum) for grid in (start, times))
        grid, distances = StoredGrid(name, count, times.tolist()), None
        if sampling:
            candidates = (plain, _with_grids(pipeline, (grid,)))
            distances = tuple(_mean_distance(sampling(one, name, count), references) for one in candidates)
        yield Fit(grid, errors, distances)


def sample_recordings(vocoder: Vocoder, waveforms: Sequence[Tensor]) -> Sampling:
    """Resynthesize recordings (T,) at the vocoder's rate, without mel consistency, which would hide differences."""
    mels = [vocoder.mel(Audio(waveform, vocoder.sample_rate)) for waveform in waveforms]

    def sample(pipeline: Vocoder, sampler: str, steps: int) -> list[Tensor]:
        options = {"steps": steps, "sampler": sampler, "consistency": 0}
        clips = (pipeline.generate(mel, clip_seeds=[seed], **options) for seed, mel in enumerate(mels))
        return [clip.samples for clip in clips]

    return sample


def sample_seeds(count: int) -> Sampling:
    """Generate `count` clips from noise at the level that the model gives them; each channel counts as a clip."""

    def sample(pipeline: AudioGenerator, sampler: str, steps: int) -> list[Tensor]:
        options = {"steps": steps, "sampler": sampler, "peak_level": None}
        clips = (pipeline.generate(clip_seeds=[seed], **options) for seed in clip_seeds(0, count))
        return [channel for clip in clips for channel in clip.samples[0]]

    return sample


def store(model: DiffusionModel, fits: Sequence[Fit]) -> DiffusionModel:
    """The model with the grids that are better; its earlier grids for the same samplers and steps are dropped.

    Its validated range of steps is extended to all numbers of steps that were validated. A vocoder's only setting, if
    it has no name of its own, takes the number of steps in that range that is nearest to its own.
    """
    keys = {(fit.grid.sampler, fit.grid.steps) for fit in fits}
    others = [grid for grid in model.grids if (grid.sampler, grid.steps) not in keys]
    grids = [*others, *(fit.grid for fit in fits if fit.better)]
    counts = [fit.grid.steps for fit in fits if fit.distances] + list(model.validated or ())
    validated = (min(counts), max(counts)) if counts else None
    changed: dict[str, Any] = {}
    if isinstance(model, VocoderModel) and not model.has_named_settings:
        (only,) = model.settings
        changed["settings"] = [replace(only, steps=nearest_steps(only.steps, validated, only.sampler))]
    return model.with_arguments(grids=grids, validated=validated, **changed)


def _with_grids(pipeline: Pipeline, grids: Sequence[StoredGrid]) -> Pipeline:
    """The same network with only these grids."""
    model = pipeline.model.with_arguments(grids=grids, validated=None)
    return type(pipeline)(model, pipeline.device, pipeline.precision)


def _mean_distance(clips: Sequence[Tensor], references: Sequence[Tensor]) -> float:
    """Multi-resolution STFT distance, averaged over clips."""
    each = [float(multi_resolution_stft(x[None], y[None])) for x, y in zip(clips, references, strict=True)]
    return sum(each) / len(each)
