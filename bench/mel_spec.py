"""How well a mel determines the audio: mel-shaped noise after mel consistency, for several windows, hops and bands.

`python bench/mel_spec.py --data data/asterisk-it` takes the mels of held-out recordings at 16 kHz in every spec of
`SPECS`, gives noise their envelope and projects it (`audio.consistency`). No network is involved: what is left of the
distance to the recording is what a vocoder for this mel must add. Writes `bench/results/mel_spec.md`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.consistency import project
from audiodiff.audio.mel import PRESETS, MelSpec, MelSpectrogram
from audiodiff.audio.prior import MelPrior
from audiodiff.data.dataset import ClipDataset
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import batch_noise, clip_seed
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import choose, clip_list_hash
from audiodiff.files import write_text
from audiodiff.metrics.dnsmos import dnsmos_overall
from audiodiff.metrics.pesq import pesq_wb
from audiodiff.metrics.stoi import stoi

RESULTS = Path(__file__).parent / "results" / "mel_spec.md"
_COARSE, _FINE = PRESETS["speech_16k"], PRESETS["speech_16k_fine"]
SPECS: dict[str, MelSpec] = {
    "speech_16k": _COARSE,
    "more bands": replace(_COARSE, n_mels=128),
    "half the hop": replace(_COARSE, hop_length=128),
    "10 ms hop": replace(_COARSE, n_fft=640, win_length=640, hop_length=160),
    "speech_16k_fine": _FINE,
    "fewer bands": replace(_FINE, n_mels=40),
}
ITERATIONS = (16, 64)


@torch.inference_mode()
def consistent_noise(recording: Tensor, spec: MelSpec, iterations: Sequence[int], seed: int) -> list[Tensor]:
    """Noise with the mel of a recording (T,), T a multiple of the hop, after each number of iterations, (T,) each."""
    mel = MelSpectrogram(spec)(recording[None])[..., : len(recording) // spec.hop_length]
    noise = batch_noise([seed], 1, len(recording))[:, 0]
    shaped = MelPrior(spec).restore(noise, mel)
    return [project(shaped, mel, spec, count)[0] for count in iterations]


def row(name: str, spec: MelSpec, recordings: Sequence[Tensor], seeds: Sequence[int]) -> str:
    """One line of the table."""
    rate, found = spec.sample_rate, []
    for recording, seed in zip(recordings, seeds, strict=True):
        reference = recording[: len(recording) // spec.hop_length * spec.hop_length]
        for audio in consistent_noise(reference, spec, ITERATIONS, seed):
            found.append([metric(reference.numpy(), audio.numpy(), rate) for metric in (pesq_wb, stoi, dnsmos_overall)])
    means = np.array(found).reshape(len(recordings), len(ITERATIONS), 3).mean(0)
    cells = [f"{pesq:.2f}, {intelligible:.3f}, {quality:.2f}" for pesq, intelligible, quality in means]
    window, hop = (1000 * length / rate for length in (spec.win_length, spec.hop_length))
    numbers = spec.n_mels * rate / spec.hop_length
    return f"| {name} | {window:.0f} | {hop:.0f} | {spec.n_mels} | {numbers:,.0f} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="manifest of held-out recordings, or its folder")
    parser.add_argument("--limit", type=int, default=10, help="clips (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    manifest = Manifest.load(arguments.data)
    clips, _ = choose(manifest, limit=arguments.limit)
    recordings = [ClipDataset(Manifest((clip,), manifest.root), 16000)[0]["waveform"] for clip in clips]
    seeds = [clip_seed(0, clip.id) for clip in clips]
    head = ["mel", "window (ms)", "hop (ms)", "bands", "numbers per second"]
    head += [f"PESQ-WB, STOI, DNSMOS after {count} iterations" for count in ITERATIONS]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for name, spec in SPECS.items():
        lines.append(row(name, spec, recordings, seeds))
        print(lines[-1], flush=True)
    seconds = sum(map(len, recordings)) / 16000
    of = f"{len(clips)} clips of {manifest.root.resolve().name}, {seconds:.0f} s, list {clip_list_hash(clips)[:12]}."
    facts = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if value is not None)
    text = "\n".join(["# What a mel determines", "", of, "", *lines, "", facts, ""])
    write_text(RESULTS, text)
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
