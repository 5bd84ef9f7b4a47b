"""Many clips from nothing to files, in batches, free to be interrupted.

Clip i of a seed is the same in any count and any batch up to rounding, and stands in a file of its own number beside
its sidecar (`rendering.sidecar`): the same command, given again, goes on where it was stopped, with the bytes of a run
that was not (`rendering.batches`), and a larger count adds to it. What was generated with other settings is never
replaced unless that is asked for.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from audiodiff.audio.io import write_chunks
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.pipelines.audio_generator import PEAK, SILENT, WEAKER, AudioGenerator, Wish, clip_seeds
from audiodiff.pipelines.pipeline import Progress
from audiodiff.rendering import sidecar
from audiodiff.rendering.batches import unfinished_batches
from audiodiff.rendering.spool import Spool

_CLAIM = {"sidecar": "audiodiff generate", "version": 1}


@dataclass(frozen=True)
class Settings:
    """What to generate.

    Attributes:
        wish: what the clips are to be.
        count: of clips.
        seed: of all.
        peak: of each clip, unless it goes on with another; None: as it comes.
        batch_size: clips at once.
        format: of the files, "wav" or "flac".
        overwrite: generate what is there already again, and over files that are not ours.

    Raises:
        UserError: a value that cannot be.
    """

    wish: Wish = field(default_factory=Wish)
    count: int = 1
    seed: int = 0
    peak: float | None = PEAK
    batch_size: int = 8
    format: str = "wav"
    overwrite: bool = False

    def __post_init__(self):
        """Refuse what would only fail after the first clip."""
        presets.build(self.wish.sampler or presets.NAMES[0], 20 if self.wish.steps is None else self.wish.steps)
        for name in ("count", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name.replace('_', ' ')} {getattr(self, name)}", "is below 1")
        if self.peak is not None and not 0 < self.peak <= 1:
            raise UserError(f"peak {self.peak:g}", "is not above 0 and at most 1", "1 is full scale")
        sidecar.check_format(self.format)


def _refuse(error: UserError) -> None:
    raise error


@dataclass(frozen=True)
class Job:
    """A clip: the path of its audio, what its sidecar says of how, and whether it is missing."""

    path: Path
    recipe: dict
    missing: bool


@dataclass(frozen=True)
class Outcome:
    """How many clips were generated, were there already, and were left out with a report."""

    generated: int
    kept: int
    left_out: int


def generate(
    generator: AudioGenerator,
    out: str | Path,
    settings: Settings,
    quiet: bool = False,
    report: Callable[[UserError], None] = _refuse,
) -> Outcome:
    """Generate clips as `out/NNNN.wav`, those that are not there.

    Args:
        generator: the model.
        out: folder.
        settings: what to generate.
        quiet: no progress bar.
        report: called for every clip that became samples that are not finite; the others are generated. By default
            the first ends the work.

    Raises:
        UserError: the folder or a file in it cannot be written, another process writes to it, a file is there that is
            not ours or that was generated with other settings, or as `AudioGenerator.generate`.
    """
    with folder_lock(out):
        sidecar.make_folder(Path(out))  # says why where there is none
        return _generate(generator, Path(out), settings, report, quiet)


def _generate(
    generator: AudioGenerator, out: Path, settings: Settings, report: Callable[[UserError], None], quiet: bool
) -> Outcome:
    recipe = _recipe(generator, settings)
    jobs = []
    for number, seed in enumerate(clip_seeds(settings.seed, settings.count)):
        path, own = out / f"{number:04d}.{settings.format}", recipe | {"clip_seed": seed}
        jobs.append(Job(path, own, settings.overwrite or not _is_there(path, own)))
    missing = sum(job.missing for job in jobs)
    batches = unfinished_batches(jobs, settings.batch_size)
    if batches:
        sidecar.check_writable(out)
    steps, stored = recipe["nfe"] * sum(map(len, batches)), 0
    # disable=None: only where somebody watches.
    with tqdm(total=steps, desc=f"generating {missing} clips", unit="step", disable=quiet or None) as bar:
        for batch in batches:
            before = bar.n

            def advance(progress: Progress, before: int = before, clips: int = len(batch)) -> None:
                bar.update(before + progress.done * clips - bar.n)

            stored += _batch(generator, batch, settings, report, advance)
    return Outcome(stored, len(jobs) - missing, missing - stored)


def _is_there(path: Path, recipe: dict) -> bool:
    """Whether a clip is there; one generated with other settings is not for us to replace."""
    found = sidecar.read_sidecar(path, _CLAIM)
    for name in recipe if found else ():
        if found.get(name) != recipe[name]:
            values = (str(value)[:40] for value in (found.get(name), recipe[name]))
            problem = f"was made with another {name.replace('_', ' ')} ({', not '.join(values)})"
            raise UserError(path, problem, "choose another --out or add --overwrite")
    return bool(found)


def _recipe(generator: AudioGenerator, settings: Settings) -> dict:
    """What decides how the clips sound, besides their seeds."""
    wish, model = settings.wish, generator.model
    told = {
        "model_hash": generator.model_hash,
        "sampler": wish.sampler or model.sampler,
        "nfe": model.calls if wish.steps is None else wish.steps,
        "seed": settings.seed,
        "seconds": wish.seconds,
        "labels": list(wish.labels),
        "tempo": wish.tempo,
        "guidance": wish.guidance,
        "loop": wish.loop,
        "peak": settings.peak,
    }
    for name in ("after", "like"):
        given = getattr(wish, name)
        told[name] = None if given is None else hashlib.sha256(given.samples.numpy().tobytes()).hexdigest()
    return told | ({} if wish.like is None else {"strength": wish.strength})


def _batch(generator: AudioGenerator, batch: Sequence[Job], settings: Settings, report, progress) -> int:
    """Generate a batch and store its missing clips; how many were stored is returned."""
    stored = 0
    started = time.perf_counter()
    peak = settings.peak if settings.wish.after is None else None
    with Spool() as spool:
        for piece in generator.pieces([job.recipe["clip_seed"] for job in batch], settings.wish, progress):
            spool.add(piece)
        spent = time.perf_counter() - started
        for number, job in enumerate(batch):
            if not job.missing:
                continue
            if not spool.finite[number]:
                fix = "use --precision float32" if settings.wish.guidance == 1 else WEAKER
                report(UserError(job.path, "became samples that are not finite", fix))
                continue
            metadata = {
                "precision": generator.precision,
                "device": str(generator.device),
                "batch_size": settings.batch_size,
                "sample_rate": generator.sample_rate,
                "samples": spool.samples,
                "channels": spool.channels,
                # As in reports: seconds of audio in a second of work, over the batch.
                "real_time_factor": len(batch) * spool.samples / generator.sample_rate / spent,
            }
            clip = spool.clip(number, peak, SILENT)
            written = partial(write_chunks, pieces=clip, sample_rate=generator.sample_rate)
            sidecar.write_with_sidecar(job.path, written, _CLAIM, job.recipe | metadata)
            stored += 1
    return stored
