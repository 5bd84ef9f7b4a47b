"""Text to speech: our voice beside hibari-tts, Kokoro, piper and espeak-ng, on the same sentences, in one run.

`python bench/speech.py --voice voice-en --data data/teachers` speaks held-out sentences with all systems, each on one
thread, scores them (word and character errors by Whisper tiny.en, DNSMOS, similarity to the voice of the reference
system, pitch), measures speed and the latency of the first audio, and writes `bench/results/speech.md`.

Spoken and scored sentences are stored in `--work`, by system: an interrupted bench continues, and one with more
`--sentences` adds those that are missing. Speed is measured at the end, anew each time: a few sentences of all lengths,
each by every system before the next, medians over rounds.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import speech_report
import torch
from speech_systems import Espeak, Hibari, Kokoro, Ours, Piper, Spoken, System
from tqdm import tqdm

from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import SPLITS
from audiodiff.evaluation.speech_scoring import SpeechScores, SpokenClip, score_speech
from audiodiff.files import write_text

RESULTS = Path(__file__).parent / "results" / "speech.md"
STEPS = (2, 4, 8, 16)
MIN_CHARACTERS = 20  # of a sentence
LONG_TEXT = (
    "When the fog had lifted, the harbor master counted the boats, and he found that one of them was missing. Nobody "
    "had seen it leave. The night had been calm, the ropes were still tied to the pier, and the dog that slept on its "
    "deck lay in front of the office as if nothing had happened."
)


def sentences(data: str, count: int) -> list[str]:
    """`count` different held-out texts of a manifest; fewer are the first of more.

    Raises:
        UserError: it has no held-out text.
    """
    texts = {clip.text for clip in Manifest.load(data).with_splits(*SPLITS).clips}
    chosen = sorted((text for text in texts if len(text) >= MIN_CHARACTERS), key=lambda text: clip_seed(0, text))
    if not chosen:
        raise UserError(data, "has no held-out clip with a text", "prepare more clips")
    return chosen[:count]


def factories(options: argparse.Namespace) -> dict[str, Callable[[], System]]:
    """What loads each system, by name."""
    ours = (
        {}
        if options.voice is None
        else {f"audiodiff_{steps}": partial(Ours, options.voice, options.speaker, steps) for steps in options.steps}
    )
    peers = {
        "hibari": Hibari,
        "kokoro": partial(Kokoro, options.work / "downloads"),
        "piper": partial(Piper, options.work / "piper"),
        "espeak": Espeak,
    }
    return ours | {name: make for name, make in peers.items() if name not in options.skip}


def load(factory: dict[str, Callable[[], System]]) -> tuple[dict[str, System], dict[str, str]]:
    """The systems that can be loaded, and why the others cannot."""
    systems, reasons = {}, {}
    for name, make in factory.items():
        try:
            systems[name] = make()
        except (UserError, OSError, ImportError) as error:
            reasons[name] = str(error)
            print(f"{name} is skipped: {error}", flush=True)
    return systems, reasons


def scores(system: System, texts: Sequence[str], work: Path) -> list[SpeechScores]:
    """Scores of every text, computed where `work` does not have them yet."""
    path = work / f"{system.name}.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if stored.get("version") != system.version:
        stored = {"version": system.version, "scores": {}}
    missing = [text for text in texts if text not in stored["scores"]]
    for number, text in enumerate(tqdm(missing, desc=system.name, unit="sentence", disable=not missing), 1):
        spoken = system.speak(text)
        stored["scores"][text] = score_speech(clip_of(spoken, text)).to_json()
        if number % 10 == 0 or number == len(missing):
            write_text(path, json.dumps(stored, ensure_ascii=False) + "\n")
    return [SpeechScores.from_json(stored["scores"][text]) for text in texts]


def clip_of(spoken: Spoken, text: str) -> SpokenClip:
    """The clip to score."""
    return SpokenClip(spoken.samples, spoken.rate, text, "en-us", spoken.phonemes)


def speeds(systems: Sequence[System], texts: Sequence[str], rounds: int) -> dict[str, tuple[float, float]]:
    """By system: seconds of audio per second of work, and seconds until the first audio of `LONG_TEXT`; medians."""
    by_length = sorted(texts, key=len)
    few = [by_length[round(i)] for i in np.linspace(0, len(by_length) - 1, min(5, len(by_length)))]
    for system in systems:
        system.speak(few[-1])  # memory and kernels
    factors, latencies = ({system.name: [] for system in systems} for _ in range(2))
    for _ in range(rounds):
        found = {system.name: np.zeros(2) for system in systems}
        for text in few:
            for system in systems:
                spoken = system.speak(text)
                found[system.name] += (len(spoken.samples) / spoken.rate, spoken.seconds)
        for system in systems:
            factors[system.name].append(found[system.name][0] / found[system.name][1])
            latencies[system.name].append(system.speak(LONG_TEXT).first)
    return {name: (statistics.median(factors[name]), statistics.median(latencies[name])) for name in factors}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    parser.add_argument("--voice", help="our voice: a name or a checkpoint folder (default: only the other systems)")
    parser.add_argument("--speaker", help="speaker of our voice (default: its first)")
    parser.add_argument("--data", required=True, help="manifest whose held-out texts are spoken")
    parser.add_argument("--sentences", type=int, default=200, help=f"number of sentences {default}")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help=f"denoising steps of our rows {default}")
    parser.add_argument("--skip", nargs="*", default=[], help="names of systems to leave out")
    parser.add_argument("--rounds", type=int, default=3, help=f"measurements of speed {default}")
    parser.add_argument("--work", type=Path, default=Path("runs/bench_speech"), help=f"results so far {default}")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"the report {default}")
    return parser.parse_args()


def main() -> None:
    """Speak, score, time, write."""
    options = arguments()
    torch.set_num_threads(1)
    try:
        texts = sentences(options.data, options.sentences)
        options.work.mkdir(parents=True, exist_ok=True)
        systems, reasons = load(factories(options))
        found = {name: scores(system, texts, options.work) for name, system in systems.items()}
        measured = speeds(list(systems.values()), texts, options.rounds)
    except UserError as error:
        sys.exit(f"error: {error}")
    rows = {
        name: speech_report.Row(system.label, system.version, system.megabytes, found[name], *measured[name])
        for name, system in systems.items()
    }
    text = speech_report.page(rows, reasons, environment.describe("cpu"), options.sentences)
    write_text(options.out, text)
    print(text)


if __name__ == "__main__":
    main()
