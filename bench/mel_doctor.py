"""Accuracy of `audiodiff doctor mel` on real speech, and the fit of its statistical model.

`python bench/mel_doctor.py` computes mels of clips of `--data` in every published convention, diagnoses each, and
writes bench/results/mel_doctor.md: the share of clips whose convention is ranked first, and how often each "found" or
"likely" field is correct. `--fit` first fits audiodiff/audio/mel/doctor.json to other corpora, whose speakers must not
be in `--data`: for each figure of `mel.texture` a linear function of the hypothesis, and the covariance of the
residual, widened for level, tilt and shape, in which recordings differ more than those corpora do.
"""

import argparse
import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch

from audiodiff import files
from audiodiff.audio.io import read
from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.mel.convention import CONVENTIONS, Scaling
from audiodiff.audio.mel.doctor import detect_floor, diagnose, guesses, scaling_name
from audiodiff.audio.mel.texture import FEATURES, Texture, filterbank_theory
from audiodiff.data.manifest import Manifest

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "audiodiff" / "audio" / "mel" / "doctor.json"
WIDER = {"level": 6.0, "tilt": 1.5, "shape": 1.0}  # dB, dB per octave, dB
DATA = ["data/asterisk-en", "data/asterisk-fr", "data/festvox-ru"]
FITTED_TO = ["data/asterisk-es", "data/asterisk-ru", "data/fillets-cs"]


def clips(folders: list[str], count: int, seed: int) -> Iterator[Path]:
    """`count` clips of each corpus that are longer than a second."""
    for folder in folders:
        manifest = Manifest.load(ROOT / folder / "manifest.jsonl")
        long = [clip for clip in manifest.clips if clip.seconds > 1]
        yield from map(manifest.path, random.Random(seed).sample(long, count))


def linear_mel(path: Path, spec: MelSpec) -> torch.Tensor:
    """Linear mel (M, F) of a file, mixed to mono."""
    samples = read(path, spec.sample_rate).samples
    return MelSpectrogram(spec).linear(samples if samples.ndim == 1 else samples.mean(0))


def fit(count: int, seed: int) -> None:
    """Measure the features of correct hypotheses and write the model."""
    draw, covariates, features = random.Random(seed), [], []
    specs = [guess.spec for bands in (64, 80, 100, 128) for guess in guesses(bands) if guess.scaling == Scaling()]
    for path in clips(FITTED_TO, count, seed):
        for spec in draw.sample(specs, 24):
            spec = replace(spec, log_base="e", log_floor=10 ** (draw.uniform(-9, -4.5) - 2 * (spec.power == 2)))
            stored = spec.compress(linear_mel(path, spec) * 10 ** draw.uniform(-0.5, 0.3)).double().numpy()
            features.append(Texture(stored, detect_floor(stored)).features(spec, Scaling()))
            covariates.append(filterbank_theory(spec).covariates)
    known = np.isfinite(features).all(1)
    inputs, outputs = np.array(covariates)[known], np.array(features)[known]
    weights = np.linalg.solve(inputs.T @ inputs + 1e-2 * np.eye(inputs.shape[1]), inputs.T @ outputs).T
    covariance = np.cov((outputs - inputs @ weights.T).T)
    for name, deviation in WIDER.items():
        covariance[FEATURES.index(name), FEATURES.index(name)] += deviation**2
    rounded = [[[float(f"{x:.5g}") for x in row] for row in matrix] for matrix in (weights, covariance)]
    content = {"features": FEATURES, "weights": rounded[0], "covariance": rounded[1]}
    files.write_text(MODEL, json.dumps(content) + "\n")


def diagnose_clip(path: Path) -> tuple[Counter, Counter]:
    """One clip in every convention: the convention ranked first, and how often each field is correct."""
    torch.set_num_threads(1)
    first, fields = Counter(), Counter()
    for name, convention in CONVENTIONS.items():
        stored = convention.scaling.apply(convention.spec.compress(linear_mel(path, convention.spec))).numpy()
        diagnosis = diagnose(stored)
        best = diagnosis.ranking[0].names if diagnosis.ranking else ()
        first[name] += name in best
        first[name, " = ".join(best) or "none"] += 1
        truth = {"layout": "bands x frames", "scaling": scaling_name(convention.scaling)} | convention.spec.to_dict()
        for field, evidence in diagnosis.fields.items():
            right = evidence.value == truth[field]
            if field == "log_floor" and evidence.value is not None:
                right = math.isclose(evidence.value, truth[field], rel_tol=0.02)
            fields[field, evidence.state, right] += 1
    return first, fields


def measure(folders: list[str], count: int, seed: int, jobs: int) -> str:
    """Measure all clips; returns the Markdown tables."""
    with Pool(jobs) as pool:
        counted = pool.map(diagnose_clip, clips(folders, count, seed), chunksize=1)
    total, first, fields = len(counted), Counter(), Counter()
    for of_clip, of_fields in counted:
        first.update(of_clip)
        fields.update(of_fields)
    lines = [f"{total} clips of {', '.join(folders)} in each of {len(CONVENTIONS)} conventions.", ""]
    lines += ["| convention | ranked first, or tied | otherwise first |", "|---|---|---|"]
    for name in CONVENTIONS:
        rest = [(key[1], n) for key, n in first.items() if isinstance(key, tuple) and key[0] == name]
        wrong = ", ".join(f"{best} {n}" for best, n in rest if name not in best.split(" = "))
        lines.append(f"| {name} | {first[name] / total:.0%} | {wrong} |")
    lines.append(f"| all | {sum(first[name] for name in CONVENTIONS) / total / len(CONVENTIONS):.1%} | |")
    lines += ["", "| field | found (right) | likely (right) | unknown |", "|---|---|---|---|"]
    for field in dict.fromkeys(key[0] for key in fields):
        cells = []
        for state in ("found", "likely", "unknown"):
            right, count = fields[field, state, True], fields[field, state, True] + fields[field, state, False]
            cells.append(f"{count} ({right / count:.1%})" if count else "0")
        lines.append(f"| {field} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit if requested, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=DATA, help="prepared corpora")
    parser.add_argument("--clips", type=int, default=36, help="clips per corpus (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes (default: %(default)s)")
    parser.add_argument("--fit", action="store_true", help="fit the model first")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.fit:
        fit(90, arguments.seed + 1)
    table = measure(arguments.data, arguments.clips, arguments.seed, arguments.jobs)
    files.write_text(ROOT / "bench" / "results" / "mel_doctor.md", table)
    print(table)


if __name__ == "__main__":
    main()
