"""Time grids fitted to a vocoder's data and checked on its network.

What is diffused is the whitened waveform. The modes of its spectrum are taken to be the bins of its short-time Fourier
transform in every frame, and the power in a bin, relative to that of white noise, to be the variance of its mode. A
mean over time would be flat, for that is what whitening is for; what a sampler has to cope with is the spread:
harmonics above the envelope, the gaps between them and pauses far below. The powers of a stationary noise scatter, too
(by 18 dB between 5 and 95 percent), and that is counted as spread. Averaging it out, over two frames and three bins,
made the fitted grids of a speech vocoder agree less with many network calls.

A fit knows Gaussian modes and no network. So each is checked: held-out clips are made from the same noise with many
network calls, with few on the sampler's own grid, and with few on the fitted one, and the fitted grid is worth keeping
if it brings them nearer to those of many calls.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.data.dataset import ClipDataset
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion import fitted_grid
from audiodiff.diffusion.fitted_grid import Spectrum
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.presets import build, chosen
from audiodiff.diffusion.stored_grid import StoredGrid
from audiodiff.errors import UserError
from audiodiff.synthesis.model import VocoderModel
from audiodiff.synthesis.vocoder import Vocoder

MANY_CALLS = 100
LONGEST_SECONDS = 5.0


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


def recordings(manifest: Manifest, splits: Sequence[str], limit: int, sample_rate: int) -> list[Tensor]:
    """At most `limit` clips (T,), drawn by a hash of their ids, of each at most the first LONGEST_SECONDS.

    Raises:
        UserError: the splits hold no clip.
    """
    clips = sorted(manifest.only(*splits).clips, key=lambda clip: clip_seed(0, clip.id))[:limit]
    if not clips:
        raise UserError(manifest.root, f"has no clip in {' or '.join(splits)}", "prepare more recordings")
    found = ClipDataset(Manifest(tuple(clips), manifest.root), sample_rate, LONGEST_SECONDS)
    return [found[i]["waveform"] for i in range(len(found))]


def spectrum(vocoder: Vocoder, waveforms: Sequence[Tensor]) -> Spectrum:
    """The spectrum of recordings (T,) as the model diffuses them.

    Raises:
        UserError: all of them are silent.
    """
    powers = torch.cat([_powers(vocoder, waveform) for waveform in waveforms])
    if not bool(powers.any()):
        raise UserError(f"{len(waveforms)} recordings", "are silent", "give some with sound")
    return Spectrum.of_powers(powers)


def fits(
    vocoder: Vocoder,
    on: Spectrum,
    calls: Iterable[int],
    sampler: str | None = None,
    held_out: Sequence[Tensor] = (),
) -> Iterator[Fit]:
    """Fit a grid for each number of network calls, and check it.

    Args:
        vocoder: its network, schedule and start.
        on: the spectrum.
        calls: network calls.
        sampler: name, deterministic; None: the model's own.
        held_out: recordings (T,) at the vocoder's rate to check with; none: no check.

    Raises:
        UserError: an unknown or a stochastic sampler, or too few calls for it.
    """
    plain, denoiser = _with(vocoder, ()), vocoder.model.denoiser
    mels = [vocoder.mel(Audio(waveform, vocoder.sample_rate)) for waveform in held_out]
    limits = _render(plain, mels, "recommended", MANY_CALLS)
    for count in calls:
        name = chosen(sampler or vocoder.model.sampler, count)
        own = build(name, count)
        if own.stochastic:
            raise UserError(f"sampler {name}", "adds noise: no grid can be fitted to it", "choose another --sampler")
        schedule, start = denoiser.schedule, own.grid_for(denoiser)
        times = fitted_grid.fit(own, schedule, on, denoiser.t_max)
        errors = tuple(fitted_grid.error(own, schedule, grid, on) for grid in (start, times))
        grid = StoredGrid(name, count, times.tolist())
        distances = tuple(_distance(_render(v, mels, name, count), limits) for v in (plain, _with(vocoder, (grid,))))
        yield Fit(grid, errors, distances if mels else None)


def keep(model: VocoderModel, found: Sequence[Fit]) -> VocoderModel:
    """The model with the grids that are better; those it had for the same samplers and numbers of calls are dropped.

    It counts as validated from the least to the most calls that were checked, and wherever it was before.
    """
    keys = {(fit.grid.sampler, fit.grid.calls) for fit in found}
    others = [grid for grid in model.grids if (grid.sampler, grid.calls) not in keys]
    grids = [*others, *(fit.grid for fit in found if fit.better)]
    checked = [fit.grid.calls for fit in found if fit.distances] + list(model.validated or ())
    return model.replaced(grids=grids, validated=(min(checked), max(checked)) if checked else None)


def _with(vocoder: Vocoder, grids: Sequence[StoredGrid]) -> Vocoder:
    """The same network with these grids alone."""
    return Vocoder(vocoder.model.replaced(grids=grids, validated=None), vocoder.device, vocoder.precision)


def _powers(vocoder: Vocoder, waveform: Tensor) -> Tensor:
    """Of the normalised waveform (T,) in all bins and frames, 1 for white noise."""
    spec = vocoder.spec
    mel = vocoder.mel(Audio(waveform, vocoder.sample_rate))
    white = vocoder.model.normalise(waveform[None].to(vocoder.device), mel[None].to(vocoder.device))[0].cpu()
    window = torch.hann_window(spec.n_fft)
    bins = torch.stft(white, spec.n_fft, spec.n_fft // 2, window=window, pad_mode="constant", return_complex=True)
    return (bins.abs().square() / window.square().sum()).flatten()


def _render(vocoder: Vocoder, mels: Sequence[Tensor], sampler: str, calls: int) -> list[Tensor]:
    """Each mel's waveform without mel consistency, which would hide differences; clip i from the noise of seed i."""
    made = (vocoder.generate(mel, calls, seed, sampler, consistency=0) for seed, mel in enumerate(mels))
    return [audio.samples for audio in made]


def _distance(made: Sequence[Tensor], limits: Sequence[Tensor]) -> float:
    """Mean over clips."""
    each = [float(multi_resolution_stft(x[None], y[None])) for x, y in zip(made, limits, strict=True)]
    return sum(each) / max(len(each), 1)
