"""Time grids fitted to a model's data and checked on its network.

A fit knows Gaussian modes (`evaluation.modes`) and no network. So each is checked: clips are made from the same noise
with many network calls, with few on the sampler's own grid, and with few on the fitted one, and the fitted grid is
worth keeping if it brings them nearer to those of many calls.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.diffusion.grids import fitted as fitted_grid
from audiodiff.diffusion.grids.fitted import Spectrum
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.samplers.presets import build, chosen
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.pipelines.audio_generator import AudioGenerator, clip_seeds
from audiodiff.pipelines.pipeline import Pipeline
from audiodiff.pipelines.vocoder import Vocoder

MANY_CALLS = 100

# Clips (T,) that a synthesiser makes with a sampler and a number of network calls, always from the same noise.
Making = Callable[[Pipeline, str, int], list[Tensor]]


@dataclass(frozen=True)
class Fit:
    """What a fit came to.

    Attributes:
        grid: fitted.
        errors: on the spectrum (`fitted_grid.error`), of the sampler's own grid and of this one.
        distances: multi-resolution STFT distance to many calls, of the sampler's own grid and of this one; None where
            it was not checked.
    """

    grid: StoredGrid
    errors: tuple[float, float]
    distances: tuple[float, float] | None = None

    @property
    def better(self) -> bool:
        """Whether the check speaks for it; without one, whether its error is lower."""
        before, after = self.distances or self.errors
        return after < before


def fits(
    synthesiser: Pipeline,
    on: Spectrum,
    calls: Iterable[int],
    sampler: str | None = None,
    making: Making | None = None,
) -> Iterator[Fit]:
    """Fit a grid for each number of network calls, and check it.

    Args:
        synthesiser: its network, schedule and start.
        on: the spectrum.
        calls: network calls.
        sampler: name, deterministic; None: the model's own.
        making: of the clips to check with: `resynthesis` or `from_seeds`; None: no check.

    Raises:
        UserError: an unknown or a stochastic sampler, or too few calls for it.
    """
    plain, denoiser = _with(synthesiser, ()), synthesiser.model.denoiser
    limits = making(plain, "recommended", MANY_CALLS) if making else []
    for count in calls:
        name = chosen(sampler or synthesiser.model.sampler, count)
        own = build(name, count)
        if own.stochastic:
            raise UserError(f"sampler {name}", "adds noise: no grid can be fitted to it", "choose another --sampler")
        schedule, start = denoiser.schedule, own.grid_for(denoiser)
        times = fitted_grid.fit_grid(own, schedule, on, denoiser.t_max)
        errors = tuple(fitted_grid.error(own, schedule, grid, on) for grid in (start, times))
        grid, distances = StoredGrid(name, count, times.tolist()), None
        if making:
            both = (plain, _with(synthesiser, (grid,)))
            distances = tuple(_distance(making(one, name, count), limits) for one in both)
        yield Fit(grid, errors, distances)


def resynthesis(vocoder: Vocoder, waveforms: Sequence[Tensor]) -> Making:
    """Of recordings (T,) at the vocoder's rate, without mel consistency, which would hide differences."""
    mels = [vocoder.mel(Audio(waveform, vocoder.sample_rate)) for waveform in waveforms]

    def made(by: Vocoder, sampler: str, calls: int) -> list[Tensor]:
        clips = (by.generate(mel, calls, seed, sampler, consistency=0) for seed, mel in enumerate(mels))
        return [clip.samples for clip in clips]

    return made


def from_seeds(count: int) -> Making:
    """Of so many clips out of noise, as they come; a channel is a clip."""

    def made(by: AudioGenerator, sampler: str, calls: int) -> list[Tensor]:
        clips = (by.generate(seed, steps=calls, sampler=sampler, peak=None) for seed in clip_seeds(0, count))
        return [channel for clip in clips for channel in clip.samples]

    return made


def keep(model: DiffusionModel, found: Sequence[Fit]) -> DiffusionModel:
    """The model with the grids that are better; those it had for the same samplers and numbers of calls are dropped.

    It counts as validated from the least to the most calls that were checked, and wherever it was before.
    """
    keys = {(fit.grid.sampler, fit.grid.steps) for fit in found}
    others = [grid for grid in model.grids if (grid.sampler, grid.steps) not in keys]
    grids = [*others, *(fit.grid for fit in found if fit.better)]
    checked = [fit.grid.steps for fit in found if fit.distances] + list(model.validated or ())
    return model.replaced(grids=grids, validated=(min(checked), max(checked)) if checked else None)


def _with(synthesiser: Pipeline, grids: Sequence[StoredGrid]) -> Pipeline:
    """The same network with these grids alone."""
    model = synthesiser.model.replaced(grids=grids, validated=None)
    return type(synthesiser)(model, synthesiser.device, synthesiser.precision)


def _distance(made: Sequence[Tensor], limits: Sequence[Tensor]) -> float:
    """Mean over clips."""
    each = [float(multi_resolution_stft(x[None], y[None])) for x, y in zip(made, limits, strict=True)]
    return sum(each) / len(each)
