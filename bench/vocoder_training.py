"""Training contenders alike: the same crops in the same order, for the same time, each in a process of its own.

The time is wall time, or processor time on a machine that does other work too. The clock starts with the first step and
counts everything that a step needs, reading included, on as many threads for each. Memory is the most that the process
ever held (its libraries included), which is why it is not shared.
"""

import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from vocoder_clock import CLOCKS

from audiodiff.audio.mel import MelSpec
from audiodiff.data.dataset import CropDataset, DrawSampler
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation.systems import System

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Course:
    """What all contenders are given.

    Args:
        data: the prepared folders, whose clips to train on make the crops.
        spec: of the mels.
        crop_samples: length of a crop.
        batch_size: crops a step.
        seconds: to train for.
        seed: of crops, weights and noise.
        threads: of every process.
        device: to train and to render on.
        recipe: overrides that make up our own recipe.
        clock: of the seconds: "wall" or "processor".

    Raises:
        UserError: crops that end within a hop.
    """

    data: tuple[str, ...]
    spec: MelSpec
    crop_samples: int
    batch_size: int
    seconds: float
    seed: int
    threads: int
    device: str
    recipe: tuple[str, ...]
    clock: str = "wall"

    def __post_init__(self):
        """Check the crops."""
        hop = self.spec.hop_length
        if self.crop_samples % hop:
            raise UserError(
                f"data.crop_samples={self.crop_samples}", f"is no multiple of the hop, {hop}", "make it one"
            )

    def batches(self) -> Iterator[Tensor]:
        """Waveforms (B, crop_samples) on the device without end, the same ones for every contender."""
        manifest = Manifest.join([Manifest.load(path) for path in self.data]).with_splits("train")
        crops = CropDataset(manifest, self.spec.sample_rate, self.crop_samples, self.seed)
        for batch in DataLoader(crops, self.batch_size, sampler=DrawSampler()):
            yield batch["waveform"].to(self.device)

    def begin(self) -> None:
        """Set a fresh process up."""
        torch.set_num_threads(self.threads)
        torch.set_flush_denormal(True)
        torch.manual_seed(self.seed)


@dataclass(frozen=True)
class Training:
    """How a training went; memory in MiB, that of the GPU None without one."""

    steps: int
    audio_seconds: float
    seconds: float
    parameters: int
    memory: float = 0.0
    gpu_memory: float | None = None

    @property
    def throughput(self) -> float:
        """Seconds of audio trained on per second."""
        return self.audio_seconds / self.seconds


class Contender(Protocol):
    """Somebody who turns mels into waveforms.

    Attributes:
        name: of its folder in the folder of work.
        rows: names of its systems.
    """

    name: str
    rows: tuple[str, ...]

    def train(self, course: Course, folder: Path) -> Training | None:
        """Learn, and leave in `folder` what was learnt; None if there is nothing to learn."""
        ...

    def systems(self, course: Course, work: Path, device: str) -> list[System]:
        """One for each of `rows` from what was learnt in `work`/`name`; none on a device that is not for it."""
        ...


def train_for(course: Course, step: Callable[[Tensor, float], Tensor], parameters: int) -> Training:
    """Call `step` (waveforms (B, T), share of the time that is gone -> loss) until the time is over.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    now = CLOCKS[course.clock]
    steps, gone, started = 0, 0.0, now()
    for waveform in course.batches():
        loss = float(step(waveform, gone / course.seconds))
        if not abs(loss) < float("inf"):
            raise FloatingPointError(f"the loss is {loss} at step {steps}")
        steps, gone = steps + 1, now() - started
        if gone >= course.seconds:
            break
    audio = steps * course.batch_size * course.crop_samples / course.spec.sample_rate
    return Training(steps, audio, gone, parameters)


def train(contender: Contender, course: Course, folder: Path) -> Training | None:
    """Train, and measure memory: to be called in a process of its own."""
    course.begin()
    found = contender.train(course, folder)
    if found is None:
        return None
    on_gpu = course.device != "cpu"
    gpu_memory = torch.cuda.max_memory_allocated(course.device) / 2**20 if on_gpu else None
    return replace(found, memory=peak_memory(), gpu_memory=gpu_memory)


def alone(work: Callable[..., Answer], *arguments: object) -> Answer:
    """The answer of `work`, called in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_memory() -> float:
    """The most memory that this process has held so far, MiB.

    On Linux not from `getrusage`, whose peak outlives exec, so that a process would start with its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
