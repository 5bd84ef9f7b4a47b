"""`MusicGenerator`: a trained model in use, from nothing to audio."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.diffusion.guidance import ClassifierFree
from audiodiff.diffusion.noise import batch_noise, clip_seed, step_noise
from audiodiff.diffusion.sampler import HasPosteriorMean
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.synthesis.music_model import MusicModel
from audiodiff.synthesis.synthesiser import Progress, Synthesiser

PEAK = 0.9
_SILENT = 1e-6  # of full scale: what stays below is not raised


class MusicGenerator(Synthesiser):
    """Clips out of noise.

    A clip depends on its seed, its length, what the network is told, the sampler and the number of calls: not on its
    batch.

    Args:
        arguments: those of `Synthesiser`, with a `MusicModel`.
    """

    MODEL = MusicModel
    model: MusicModel

    @torch.inference_mode()
    def generate(
        self,
        seeds: int | Sequence[int] = 0,
        seconds: float | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        labels: Sequence[str] = (),
        tempo: float | None = None,
        guidance: float = 1.0,
        peak: float | None = PEAK,
        callback: Callable[[Progress], None] | None = None,
    ) -> Audio:
        """Make clips of one length.

        Args:
            seeds: of one clip, or one for each of several.
            seconds: of each; None for the length that the model was trained on.
            steps: network calls; None for the model's own number.
            sampler: a name from `audiodiff.diffusion.presets.NAMES`; None for the model's own.
            labels: what the clips are to be, some of the model's; none: anything.
            tempo: beats a minute that they are to have; None: any.
            guidance: weight of labels and tempo; 1 is the model as it is, more takes clips further from those of other
                kinds and costs a second network evaluation a call.
            peak: that each clip is brought to, its mean taken off; None: as it comes.
            callback: told the progress after every network call.

        Returns:
            Audio with samples (C, T) for one seed, (B, C, T) for several.

        Raises:
            UserError: an unknown sampler or label, a tempo to a model that knows none, a length or number of calls that
                is none.
        """
        single = isinstance(seeds, int)
        numbers = [seeds] if single else [int(seed) for seed in seeds]
        samples = self._samples(seconds)
        if not numbers:
            return Audio(torch.empty(0, self.model.channels, samples), self.sample_rate)
        walker = self.model.sampler_for(self.model.calls if steps is None else steps, sampler)
        where = (numbers, self.model.channels, samples, 0, self.device)
        x1, noise = self.model.noise_scale(walker) * batch_noise(*where), step_noise(*where)

        def report(step: int, nfe: int, *_: object) -> None:
            if callback is not None:
                callback(Progress(step + 1, nfe))

        denoiser, condition = self._told(len(numbers), samples, labels, tempo, guidance)
        with self._context():
            made = walker(denoiser, x1, condition, noise, report)
        waveforms = self.model.restore(made.float()).cpu()
        if peak is not None:
            waveforms = levelled(waveforms, peak)
        return Audio(waveforms[0] if single else waveforms, self.sample_rate)

    def _samples(self, seconds: float | None) -> int:
        if seconds is None:
            return self.model.samples
        if not 0 < seconds < float("inf") or round(seconds * self.sample_rate) < 1:
            raise UserError(f"seconds {seconds}", "is no length", "give a number above 0")
        return round(seconds * self.sample_rate)

    def _told(
        self, clips: int, samples: int, labels: Sequence[str], tempo: float | None, guidance: float
    ) -> tuple[HasPosteriorMean, Condition]:
        """The denoiser, guided if it is to be, and what it is told."""
        length, wanted = {"seconds": min(samples, self.model.samples) / self.sample_rate}, {}
        if tempo is not None:
            if "tempo" not in self.model.numbers:
                raise UserError(f"tempo {tempo:g}", "is not what this model is told", "leave it out")
            if not 0 < tempo < float("inf"):
                raise UserError(f"tempo {tempo:g}", "is none", "give beats a minute, such as 120")
            wanted["tempo"] = float(tempo)
        condition = self.model.condition(clips, labels, length | wanted)
        if guidance == 1.0:
            return self.model.denoiser, condition
        if not labels and not wanted:
            raise UserError(f"guidance {guidance:g}", "has nothing to go to", "give a label, or guidance 1")
        return ClassifierFree(self.model.denoiser, guidance, self.model.condition(clips, (), length)), condition


def levelled(waveforms: Tensor, peak: float) -> Tensor:
    """Clips (B, C, T) without their means and at this peak; what is silent stays so."""
    waveforms = waveforms - waveforms.mean(-1, keepdim=True)
    highest = waveforms.abs().amax((-2, -1), keepdim=True)
    return torch.where(highest > _SILENT, waveforms * (peak / highest.clamp(min=_SILENT)), waveforms)


def seeds_of(seed: int, count: int) -> list[int]:
    """Those of `count` clips that are made under one seed: clip i has the same whatever the count."""
    return [clip_seed(seed, str(i)) for i in range(count)]
