"""Our contender: the recipe as it is configured, trained by the training command's own function; and those who learn
nothing, whose mel spec, prior and iterations are its.

It is asked for 1, 4 and 6 calls, with the recipe's mel consistency and without any.
"""

import warnings
from pathlib import Path

from torch import Tensor
from vocoder_training import Course, Training

from audiodiff import config
from audiodiff.diffusion.samplers import presets
from audiodiff.evaluation.systems import System, ground_truth, without_network
from audiodiff.pipelines.vocoder import Vocoder

CALLS = (1, 4, 6)
ALONE = "network alone"


def row_name(calls: int, alone: bool = False) -> str:
    """Of our row with so many calls; `alone`: without mel consistency."""
    return f"audiodiff, {calls} call{'s' if calls > 1 else ''}" + (f", {ALONE}" if alone else "")


class Ours:
    """The recipe."""

    name = "audiodiff"
    rows = tuple(row_name(calls, alone) for calls in CALLS for alone in (False, True))

    def train(self, course: Course, folder: Path) -> Training:
        """As `python train.py` does, with a clock beside."""
        from vocoder_clock import Clock

        from audiodiff import train

        limits = {
            "wall": (f'trainer.max_time="{clock(course.seconds)}"',),
            "processor": (
                "trainer.max_time=null",
                "+callbacks.timer._target_=vocoder_clock.ProcessorTimer",
                f"+callbacks.timer.duration.seconds={course.seconds}",
                "trainer.val_check_interval=1000000000",
            ),
        }
        clocked = ("+callbacks.clock._target_=vocoder_clock.Clock", f"+callbacks.clock.kind={course.clock}")
        bounds = (f'folder="{folder}"', *limits[course.clock], *clocked)
        train.run(config.compose([*course.recipe, *bounds]), folder)
        vocoder = Vocoder.from_pretrained(folder / "model")
        told = vocoder.training
        parameters = sum(parameter.numel() for parameter in vocoder.model.parameters())
        return Training(told["steps"], told["audio_hours"] * 3600, Clock.seconds, parameters)

    def systems(self, course: Course, work: Path, device: str) -> list[System]:
        """One for each number of calls, with mel consistency and without."""
        vocoder = trained(work, device)
        return [network(vocoder, calls, alone) for calls in CALLS for alone in (False, True)]


class Untrained:
    """The recording itself, and what is to be had from a mel, or a recording, without training."""

    name = "untrained"
    rows = ("ground_truth", "griffin_lim", "world", "noise", "noise_consistency")

    def train(self, course: Course, folder: Path) -> None:
        """Nothing."""

    def systems(self, course: Course, work: Path, device: str) -> list[System]:
        """Those of every report."""
        return [ground_truth(), *without_network(trained(work, "cpu"))] if device == "cpu" else []


def trained(work: Path, device: str) -> Vocoder:
    """Our model out of the folder of work."""
    return Vocoder.from_pretrained(work / Ours.name / "model", device)


def network(vocoder: Vocoder, calls: int, alone: bool) -> System:
    """The model's own sampler, or DDIM, its first order, where that one needs more calls."""
    sampler = vocoder.model.sampler
    if calls < presets.PRESETS[sampler].min_nfe:
        sampler = "ddim"
    consistency = 0 if alone else vocoder.model.consistency

    def made(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of calls it was not checked with
            return vocoder.generate(mel, calls, clip_seeds=[seed], sampler=sampler, consistency=consistency).samples

    name = row_name(calls, alone)
    return System(name, name, f"{calls} calls of {sampler}, {consistency} iterations of mel consistency.", made)


def clock(seconds: float) -> str:
    """As `trainer.max_time` is written, days:hours:minutes:seconds, rounded to a second, at least one."""
    minutes, seconds = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours // 24:02}:{hours % 24:02}:{minutes:02}:{seconds:02}"
