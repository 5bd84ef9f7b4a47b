"""Boundaries that `audiodiff align` finds, against those that a corpus states.

`python bench/align.py data/festvox-ru` removes the durations of all clips, trains an aligner on what remains, texts and
audio, as `audiodiff align` does, and compares where it puts the phonemes with the labels. `--stated` trains on the
durations of the training clips and compares the held-out ones, as for a corpus like the synthetic one that it was
trained on. `--model` measures an aligner as it is.

A boundary is the beginning of a sounding symbol; stress marks, spaces and punctuation have none of their own. Labels of
a corpus may lie systematically early or late, by their own frames: the last row removes the median difference.

Writes `bench/results/align_CORPUS.md`.
"""

import argparse
import os
import time
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from tqdm import tqdm

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.models.aligner import Aligner
from audiodiff.pipelines.alignment import align_clips
from audiodiff.training.alignment import choose_clips, load_utterance, train

RESULTS = Path(__file__).parent / "results"
MOST_CLIPS = 200  # that are compared


def without_durations(manifest: Manifest) -> Manifest:
    """The clips as a corpus without labels would have them."""
    return replace(manifest, clips=tuple(replace(clip, durations=(), pitch=()) for clip in manifest.clips))


def differences(aligner: Aligner, stated: Clip, found: Clip) -> list[float]:
    """Milliseconds by which the beginnings of sounding symbols are late."""
    begins = zip(accumulate(found.durations), accumulate(stated.durations), stated.phonemes, strict=False)
    return [1000 * (ours - theirs) for ours, theirs, symbol in begins if symbol in aligner.phonemes]


def row(name: str, late: np.ndarray) -> str:
    """A line of the table."""
    error = np.abs(late)
    shares = " | ".join(f"{np.mean(error <= limit):.1%}" for limit in (10, 20, 50))
    return f"| {name} | {np.median(error):.1f} | {error.mean():.1f} | {shares} | {np.median(late):+.1f} |"


def main() -> None:
    """Train, align, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--stated", action="store_true")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--save", type=Path, help="folder for the trained aligner")
    options = parser.parse_args()
    torch.set_num_threads(1)
    labeled = Manifest.load(options.data)
    labeled = replace(labeled, clips=tuple(clip for clip in labeled.clips if clip.durations))
    known = labeled.with_splits("train") if options.stated else without_durations(labeled)
    started = time.process_time()
    if options.model is None:
        clips = choose_clips(known)
        aligner = train([load_utterance(known, clip) for clip in tqdm(clips, "read")], progress=tqdm)
        minutes = sum(clip.seconds for clip in clips) / 60
        how = f"trained on {minutes:.0f} min {'with' if options.stated else 'without'} labels"
    else:
        aligner, how = Aligner.from_pretrained(options.model), f"`{options.model.name}`"
    trained = time.process_time() - started
    if options.save:
        aligner.save_pretrained(options.save, {}, "# Aligner\n")
    held_out = labeled.with_splits("validation", "test") if options.stated or options.model else labeled
    chosen = held_out.clips[:: max(1, len(held_out) // MOST_CLIPS)]
    originals, late, scores = {clip.id: clip for clip in chosen}, [], []
    pending = without_durations(replace(held_out, clips=chosen))
    started = time.process_time()
    for found in tqdm(align_clips(pending, pending.clips, aligner, lambda clip, error: print(error)), "align"):
        late += differences(aligner, originals[found.id], found)
        scores.append(found.alignment_score)
    seconds = sum(clip.seconds for clip in chosen)
    speed = seconds / (time.process_time() - started)
    values = np.array(late)
    lines = [
        f"# Alignment of {options.data.name}",
        "",
        f"Aligner {how} ({trained:.0f} s of processor time), compared on {len(chosen)} clips ({seconds / 60:.0f} min, "
        f"{len(values)} boundaries); aligns at {speed:.0f} times real time on one core.",
        "",
        "| boundaries | median error (ms) | mean (ms) | within 10 ms | within 20 ms | within 50 ms | difference |",
        "|---|--:|--:|--:|--:|--:|--:|",
        row("as they are", values),
        row("without the systematic difference", values - np.median(values)),
        "",
        f"Scores: median {np.median(scores):.2f}, lowest {min(scores):.2f} nats per frame.",
        "",
        *(f"- {name}: {value}" for name, value in environment.describe().items()),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    write_text(RESULTS / f"align_{options.data.name}.md", text)


if __name__ == "__main__":
    main()
