"""Clips longer than a model was trained on: memory, speed, and whether anybody could tell where windows meet.

`python bench/long_form.py --model music` makes 30 seconds and ten minutes with `audiodiff generate`, each in a process
of its own whose memory is watched; then clips whose spectral flux (how much the log-mel spectrum rises from a frame to
the next) where windows meet is held against that everywhere else, by a rank test; then loops, whose flux from the end
to the beginning is ranked among that inside. To show that the test would find seams, the same is asked of clips of the
trained length laid end to end, with a cross-fade of 20 ms. Writes `bench/results/long_form.md`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import librosa
import numpy as np
import torch
from scipy.stats import kstest, mannwhitneyu

from audiodiff.diffusion.windowed import Windowed
from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.pipelines.audio_generator import AudioGenerator, clip_seeds

RESULTS = Path(__file__).parent / "results" / "long_form.md"
HOP = 256
NEAR = 2  # frames to each side of a seam that are looked at
TEXT = """# Clips longer than a model was trained on

`python bench/long_form.py --model {model} --steps {steps}`

{facts}

The model makes {window:.1f} s of {channels} channel(s) at {rate} Hz at once; longer clips in windows that overlap by a
quarter, {steps} calls.

| length | peak memory | time | times real time |
|---|--:|--:|--:|
{lengths}

{seams}

The end of a loop and its beginning: of {loops} loops of {loop_seconds:g} s the flux across lies, in the ranks of that
inside, evenly between 0 and 1 with p = {loop_p:.2f} (median rank {loop_rank:.2f}).
"""


def flux(clip: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean rise of the log-mel spectrum into each frame but the first, of a clip (C, T)."""
    mel = librosa.feature.melspectrogram(y=clip.mean(0), sr=sample_rate, n_fft=1024, hop_length=HOP, n_mels=64)
    decibels = librosa.power_to_db(mel, top_db=80)
    return np.maximum(np.diff(decibels, axis=1), 0).mean(0)


def stretched(values: np.ndarray) -> np.ndarray:
    """Means over `NEAR` frames to each side: seams and all other places are to be asked alike."""
    return np.convolve(values, np.ones(2 * NEAR) / (2 * NEAR), "same")


def seam_test(clips: list[np.ndarray], seams: list[int], sample_rate: int) -> tuple[float, float]:
    """The probability of ranks like these were seams nowhere, and the flux at seams in times of that elsewhere.

    Args:
        clips: (C, T) each.
        seams: samples at which they may be.
        sample_rate: Hz.
    """
    at, elsewhere = [], []
    for clip in clips:
        # One number for each stretch of a few frames: those next to each other say the same.
        values = stretched(flux(clip, sample_rate))
        places = np.array([seam // HOP for seam in seams])
        others = np.arange(NEAR, len(values) - NEAR, 4 * NEAR)
        at.append(values[places])
        elsewhere.append(values[others[np.abs(others[:, None] - places).min(1) > 2 * NEAR]])
    at, elsewhere = np.concatenate(at), np.concatenate(elsewhere)
    return float(mannwhitneyu(at, elsewhere).pvalue), float(at.mean() / elsewhere.mean())


def joints(generator: AudioGenerator, samples: int) -> list[int]:
    """Where windows begin, where they end, and where two weigh the same, in samples."""
    model = generator.model
    window, frames = model.frames(model.samples), model.frames(samples)
    starts = Windowed(model.denoiser, window).starts(frames)
    places = {*starts[1:], *(start + window for start in starts[:-1])}
    places |= {(start + before + window) // 2 for before, start in pairwise(starts)}
    return sorted(place * model.stride for place in places)


def measured(model: str, seconds: float, steps: int) -> tuple[float, float]:
    """Peak memory in MiB, and times real time, of `audiodiff generate` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["generate", "--model", model, "--out", folder, "--seconds", str(seconds), "--steps", str(steps)]
        code = "import sys; from audiodiff.cli import main; sys.argv = ['audiodiff', *sys.argv[1:]]; main()"
        watched = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        told = subprocess.run(
            [sys.executable, "-c", watched, sys.executable, "-c", code, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        sidecar = json.loads((Path(folder) / "0000.wav.json").read_text())
    return int(told.stdout.split()[-1]) / 1024, sidecar["real_time_factor"]


def crossfaded(generator: AudioGenerator, count: int, steps: int) -> tuple[np.ndarray, list[int]]:
    """Clips of the trained length end to end, and where they meet."""
    fade = round(0.02 * generator.sample_rate)
    clips = generator.generate(clip_seeds(1, count), steps=steps, peak=None).samples.numpy()
    whole, places = clips[0], []
    share = np.linspace(0, 1, fade)
    for clip in clips[1:]:
        places.append(whole.shape[1] - fade // 2)
        joint = (1 - share) * whole[:, -fade:] + share * clip[:, :fade]
        whole = np.concatenate([whole[:, :-fade], joint, clip[:, fade:]], axis=1)
    return whole, places


def main() -> None:
    """Measure, test, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="music")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--lengths", type=float, nargs="*", default=[30.0, 600.0], help="seconds")
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--loops", type=int, default=24)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    lengths = []
    for seconds in options.lengths:
        memory, speed = measured(options.model, seconds, options.steps)
        lengths.append(f"| {seconds:g} s | {memory:.0f} MiB | {seconds / speed:.1f} s | {speed:.1f} |")
        print(lengths[-1], flush=True)
    torch.set_flush_denormal(True)
    generator = AudioGenerator.from_pretrained(options.model)
    model, rate = generator.model, generator.sample_rate
    seconds = 5 * model.samples / rate
    made = [
        generator.generate(seed, seconds=seconds, steps=options.steps).samples.numpy()
        for seed in clip_seeds(0, options.clips)
    ]
    p, ratio = seam_test(made, joints(generator, round(seconds * rate)), rate)
    control, places = crossfaded(generator, 5 * options.clips, options.steps)
    p_control, ratio_control = seam_test([control], places, rate)
    seams = (
        f"Where windows meet, in {options.clips} clips of {seconds:.0f} s, the flux is {ratio:.2f} times that "
        f"elsewhere (p = {p:.2g} by ranks). Where clips are laid end to end it is {ratio_control:.2f} times "
        f"(p = {p_control:.2g})."
    )
    loop_seconds = model.samples / rate
    loops = generator.generate(clip_seeds(2, options.loops), seconds=loop_seconds, steps=options.steps, loop=True)
    ranks = []
    for clip in loops.samples.numpy():
        values = stretched(flux(np.concatenate([clip, clip], axis=1), rate))
        ranks.append(float((values < values[clip.shape[1] // HOP]).mean()))
    text = TEXT.format(
        model=options.model,
        steps=options.steps,
        facts=" · ".join(f"{key} {value}" for key, value in environment.describe("cpu").items() if value is not None),
        window=model.samples / rate,
        channels=model.channels,
        rate=rate,
        lengths="\n".join(lengths),
        seams=seams,
        loops=options.loops,
        loop_seconds=loop_seconds,
        loop_p=kstest(ranks, "uniform").pvalue,
        loop_rank=np.median(ranks),
    )
    write_text(options.out, text)
    print(text)


if __name__ == "__main__":
    main()
