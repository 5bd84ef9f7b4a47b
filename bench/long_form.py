"""Clips longer than the training length: memory, speed, and audible seams where windows overlap.

`python bench/long_form.py --model music` generates 30 seconds and ten minutes with `audiodiff generate`, each in a new
process whose peak memory is measured. Then it compares the spectral flux (the rise of the log-mel spectrum from one
frame to the next) where windows overlap with that elsewhere, by a rank test; and ranks the flux from the end of a loop
to its start among that inside. As a positive control the same test runs on clips of the training length that are
concatenated with a cross-fade of 20 ms. It writes `bench/results/long_form.md`.
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
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds

RESULTS = Path(__file__).parent / "results" / "long_form.md"
HOP = 256
NEAR = 2  # frames to each side of a seam
TEXT = """# Clips longer than the training length

`python bench/long_form.py --model {model} --steps {steps}`

{facts}

The model generates {window:.1f} s of {channels} channel(s) at {rate} Hz at once, and longer clips in windows that
overlap by a quarter; {steps} steps.

| length | peak memory | time | times real time |
|---|--:|--:|--:|
{lengths}

{seams}

Loops: the flux from end to start, ranked among the flux inside, is uniform between 0 and 1 over {loops} loops of
{loop_seconds:g} s with p = {loop_p:.2f} (median rank {loop_rank:.2f}).
"""


def flux(clip: np.ndarray, sample_rate: int) -> np.ndarray:
    """Spectral flux of a clip (C, T): mean rise of the log-mel spectrum from each frame to the next."""
    mel = librosa.feature.melspectrogram(y=clip.mean(0), sr=sample_rate, n_fft=1024, hop_length=HOP, n_mels=64)
    decibels = librosa.power_to_db(mel, top_db=80)
    return np.maximum(np.diff(decibels, axis=1), 0).mean(0)


def smooth(values: np.ndarray) -> np.ndarray:
    """Moving average over `NEAR` frames to each side."""
    return np.convolve(values, np.ones(2 * NEAR) / (2 * NEAR), "same")


def seam_test(clips: list[np.ndarray], seams: list[int], sample_rate: int) -> tuple[float, float]:
    """p-value of a rank test for equal flux at seams and elsewhere, and the ratio of the mean fluxes.

    Args:
        clips: (C, T) each.
        seams: their positions in samples.
        sample_rate: Hz.
    """
    at, elsewhere = [], []
    for clip in clips:
        # One number per few frames, because neighbors are correlated.
        values = smooth(flux(clip, sample_rate))
        places = np.array([seam // HOP for seam in seams])
        elsewhere_at = np.arange(NEAR, len(values) - NEAR, 4 * NEAR)
        at.append(values[places])
        elsewhere.append(values[elsewhere_at[np.abs(elsewhere_at[:, None] - places).min(1) > 2 * NEAR]])
    at, elsewhere = np.concatenate(at), np.concatenate(elsewhere)
    return float(mannwhitneyu(at, elsewhere).pvalue), float(at.mean() / elsewhere.mean())


def window_seams(generator: AudioGenerator, samples: int) -> list[int]:
    """Where windows start and end, and where two have equal weight, in samples."""
    model = generator.model
    window, frames = model.frames(model.samples), model.frames(samples)
    starts = Windowed(model.denoiser, window).starts(frames)
    places = {*starts[1:], *(start + window for start in starts[:-1])}
    places |= {(start + before + window) // 2 for before, start in pairwise(starts)}
    return sorted(place * model.stride for place in places)


def measure_generation(model: str, seconds: float, steps: int) -> tuple[float, float]:
    """Peak memory in MiB, and speed in times real time, of `audiodiff generate` in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["generate", "--model", model, "--out", folder, "--seconds", str(seconds), "--steps", str(steps)]
        code = "import sys; from audiodiff.cli import main; sys.argv = ['audiodiff', *sys.argv[1:]]; main()"
        watcher = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", watcher, sys.executable, "-c", code, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        sidecar = json.loads((Path(folder) / "0000.wav.json").read_text())
    return int(done.stdout.split()[-1]) / 1024, sidecar["real_time_factor"]


def concatenate(generator: AudioGenerator, count: int, steps: int) -> tuple[np.ndarray, list[int]]:
    """Clips of the training length, concatenated with a cross-fade, and where they meet."""
    fade = round(0.02 * generator.sample_rate)
    clips = generator.generate(seed=1, count=count, steps=steps, peak_level=None).samples.numpy()
    whole, places = clips[0], []
    ramp = np.linspace(0, 1, fade)
    for clip in clips[1:]:
        places.append(whole.shape[1] - fade // 2)
        joint = (1 - ramp) * whole[:, -fade:] + ramp * clip[:, :fade]
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
        memory, speed = measure_generation(options.model, seconds, options.steps)
        lengths.append(f"| {seconds:g} s | {memory:.0f} MiB | {seconds / speed:.1f} s | {speed:.1f} |")
        print(lengths[-1], flush=True)
    torch.set_flush_denormal(True)
    generator = AudioGenerator.from_pretrained(options.model)
    model, rate = generator.model, generator.sample_rate
    seconds = 5 * model.samples / rate
    clips = [
        generator.generate(clip_seeds=[seed], seconds=seconds, steps=options.steps).samples[0].numpy()
        for seed in clip_seeds(0, options.clips)
    ]
    p, ratio = seam_test(clips, window_seams(generator, round(seconds * rate)), rate)
    control, places = concatenate(generator, 5 * options.clips, options.steps)
    p_control, ratio_control = seam_test([control], places, rate)
    seams = (
        f"Where windows overlap, in {options.clips} clips of {seconds:.0f} s, the flux is {ratio:.2f} times that "
        f"elsewhere (rank test: p = {p:.2g}). Where clips are concatenated it is {ratio_control:.2f} times "
        f"(p = {p_control:.2g})."
    )
    loop_seconds = model.samples / rate
    loops = generator.generate(seed=2, count=options.loops, seconds=loop_seconds, steps=options.steps, loop=True)
    ranks = []
    for clip in loops.samples.numpy():
        values = smooth(flux(np.concatenate([clip, clip], axis=1), rate))
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
