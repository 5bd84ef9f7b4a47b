"""Many clips from nothing to files, in batches, free to be interrupted.

Clip i of a seed is the same in any count and any batch, and stands in a file of its own number beside its sidecar
(`synthesis.sidecar`): the same command, given again, goes on where it was stopped, and a larger count adds to it.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from audiodiff.audio.io import Audio
from audiodiff.diffusion import presets
from audiodiff.errors import UserError
from audiodiff.synthesis import sidecar
from audiodiff.synthesis.music import PEAK, MusicGenerator, seeds_of
from audiodiff.synthesis.synthesiser import Progress

_CLAIM = {"sidecar": "audiodiff generate", "version": 1}


@dataclass(frozen=True)
class Settings:
    """What to generate.

    Attributes:
        count: of clips.
        seconds: of each; None for the length that the model was trained on.
        steps: network calls a clip.
        sampler: name; None for the model's own.
        seed: of all.
        labels: what the clips are to be; none: anything.
        tempo: beats a minute; None: any.
        guidance: weight of labels and tempo.
        peak: of each clip; None: as it comes.
        batch_size: clips at once.
        format: of the files, "wav" or "flac".
        overwrite: generate what is there already again, and over files that are not ours.

    Raises:
        UserError: a value that cannot be.
    """

    count: int = 1
    seconds: float | None = None
    steps: int = 6
    sampler: str | None = None
    seed: int = 0
    labels: tuple[str, ...] = ()
    tempo: float | None = None
    guidance: float = 1.0
    peak: float | None = PEAK
    batch_size: int = 8
    format: str = "wav"
    overwrite: bool = False

    def __post_init__(self):
        """Refuse what would only fail after the first clip."""
        presets.build(self.sampler or presets.NAMES[0], self.steps)
        for name in ("count", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name.replace('_', ' ')} {getattr(self, name)}", "is below 1")
        if self.peak is not None and not 0 < self.peak <= 1:
            raise UserError(f"peak {self.peak:g}", "is not above 0 and at most 1", "1 is full scale")
        sidecar.check_format(self.format)


@dataclass(frozen=True)
class Outcome:
    """How many clips were generated, and how many were there already."""

    generated: int
    kept: int


def generate(generator: MusicGenerator, out: str | Path, settings: Settings, quiet: bool = False) -> Outcome:
    """Generate clips as `out/NNNN.wav`, those that are not there.

    Raises:
        UserError: the folder or a file in it cannot be written, a file is there that is not ours, or as
            `MusicGenerator.generate`.
    """
    out = Path(out)
    sidecar.make_folder(out)
    recipe = _recipe(generator, settings)
    jobs = [
        (out / f"{number:04d}.{settings.format}", recipe | {"clip_seed": seed})
        for number, seed in enumerate(seeds_of(settings.seed, settings.count))
    ]
    missing = [job for job in jobs if settings.overwrite or not sidecar.is_there(job[0], _CLAIM, job[1])]
    size, calls = settings.batch_size, len(missing) * settings.steps
    # disable=None: only where somebody watches.
    with tqdm(total=calls, desc=f"generating {len(missing)} clips", unit="call", disable=quiet or None) as bar:
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            before = bar.n

            def progress(told: Progress, before: int = before, clips: int = len(batch)) -> None:
                bar.update(before + told.done * clips - bar.n)

            _batch(generator, batch, settings, progress)
    return Outcome(len(missing), len(jobs) - len(missing))


def _recipe(generator: MusicGenerator, settings: Settings) -> dict:
    """What decides how the clips sound, besides their seeds."""
    return {
        "model_hash": generator.model_hash,
        "sampler": settings.sampler or generator.model.sampler,
        "nfe": settings.steps,
        "seed": settings.seed,
        "seconds": settings.seconds,
        "labels": list(settings.labels),
        "tempo": settings.tempo,
        "guidance": settings.guidance,
        "peak": settings.peak,
    }


def _batch(generator: MusicGenerator, batch: list[tuple[Path, dict]], settings: Settings, progress) -> None:
    started = time.perf_counter()
    made = generator.generate(
        [recipe["clip_seed"] for _, recipe in batch],
        settings.seconds,
        settings.steps,
        settings.sampler,
        settings.labels,
        settings.tempo,
        settings.guidance,
        settings.peak,
        progress,
    )
    spent = time.perf_counter() - started
    for (path, recipe), samples in zip(batch, made.samples, strict=True):
        if not samples.isfinite().all():
            raise UserError(path, "became samples that are not finite", "use --precision float32")
        told = {
            "precision": generator.precision,
            "device": str(generator.device),
            "sample_rate": made.sample_rate,
            "samples": samples.shape[-1],
            "channels": samples.shape[0],
            # As in reports: seconds of audio in a second of work, over the batch.
            "real_time_factor": len(batch) * made.seconds / spent,
        }
        sidecar.store(path, Audio(samples, made.sample_rate), _CLAIM, recipe | told)
