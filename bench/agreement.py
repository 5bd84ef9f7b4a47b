"""Which sampler is closest to its own limit on a trained vocoder: 4, 6, 10 and 20 steps beside 200.

`python bench/agreement.py --model MODEL --data data/asterisk-en` renders held-out clips with every sampler and number
of steps from the same noise, and compares each with 200 steps of the recommended solver: the signal-to-error ratio of
the waveform (dB), the multi-resolution STFT distance, and PESQ with the 200 steps as the reference. All samplers solve
one ODE, so that a perfect one would agree exactly; that two different ones agree at 200 steps is the first row. Without
mel consistency, which would hide differences. Writes bench/results/agreement.md and .json.

Agreement is not quality: a sampler that is far from the ODE's solution may sound better or worse than it. PESQ against
the recording, in the last column, says which.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch import Tensor

from audiodiff import files
from audiodiff.audio.io import Audio, read
from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.samplers.presets import PRESETS, chosen
from audiodiff.evaluation.environment import describe
from audiodiff.metrics.pesq import pesq_wb
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results" / "agreement.md"
SOLVERS = ("ddim", "dpmpp_2m", "dpmpp_3m", "unipc_2", "dpm_3m", "deis_3", "v_3m", "v_2m_pc", "v_3m_pc")
BUDGETS = (4, 6, 10, 20)
MANY = 200


def signal_to_error(made: Tensor, reference: Tensor) -> float:
    """dB between a waveform (T,) and what it should have been."""
    return float(10 * torch.log10(reference.square().sum() / (made - reference).square().sum()))


def compare(made: Tensor, limit: Tensor, recording: Tensor, rate: int) -> dict[str, float]:
    """One clip's agreement with the limit, and its quality beside the recording; all (T,)."""
    recording = recording[: len(made)]
    return {
        "signal to error, dB": signal_to_error(made, limit),
        "MR-STFT": float(multi_resolution_stft(made[None], limit[None])),
        "PESQ to 200 nfe": pesq_wb(limit.numpy(), made.numpy(), rate),
        "PESQ to recording": pesq_wb(recording.numpy(), made[: len(recording)].numpy(), rate),
    }


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over clips."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def measure(vocoder: Vocoder, recordings: list[Audio], nfe: list[int], many: int) -> dict[str, dict[str, float]]:
    """The figures of every sampler and number of steps, averaged over the recordings."""
    rows: dict[str, list[dict[str, float]]] = {}
    for seed, recording in enumerate(recordings):
        mel = vocoder.mel(recording)

        def render(solver: str, nfe: int, mel: Tensor = mel, seed: int = seed) -> Tensor:
            return vocoder.generate(mel, nfe, clip_seeds=[seed], sampler=solver, consistency=0).samples

        limit = render("v_3m_pc", many)
        systems = [("dpmpp_2m", many)] + [(s, n) for n in nfe for s in SOLVERS if n >= PRESETS[s].min_nfe]
        for solver, nfe in systems:
            row = compare(render(solver, nfe), limit, recording.samples, vocoder.sample_rate)
            rows.setdefault(f"{solver} | {nfe}", []).append(row)
        print(f"clip {seed + 1} of {len(recordings)}", flush=True)
    return {name: mean(found) for name, found in rows.items()}


def table(figures: dict[str, dict[str, float]]) -> str:
    """Markdown, the best agreement at each number of steps in bold."""
    names = list(next(iter(figures.values())))
    lines = [f"| sampler | steps | {' | '.join(names)} |", "|---|--:|" + "--:|" * len(names)]
    for key, row in figures.items():
        rivals = [other[names[0]] for name, other in figures.items() if name.split()[-1] == key.split()[-1]]
        best = "**" if row[names[0]] == max(rivals) else ""
        cells = " | ".join(f"{row[name]:.3f}" for name in names)
        lines.append(f"| {best}{key.split()[0]}{best} | {key.split()[-1]} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Render, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="checkpoint folder of a vocoder")
    parser.add_argument("--data", required=True, help="folder of a manifest; its held-out clips are used")
    parser.add_argument("--clips", type=int, default=8, help="how many of them")
    parser.add_argument("--steps", type=int, nargs="+", default=list(BUDGETS))
    parser.add_argument("--many", type=int, default=MANY, help="steps that stand for the limit")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()

    vocoder = Vocoder.from_pretrained(given.model)
    manifest = Manifest.load(given.data).with_splits("validation", "test")
    clips = [clip for clip in manifest.clips if clip.seconds >= 1.5][: given.clips]
    recordings = [read(manifest.path(clip), vocoder.sample_rate) for clip in clips]
    figures = measure(vocoder, recordings, given.steps, given.many)
    choice = ", ".join(f"{chosen('recommended', n)} at {n}" for n in given.steps)
    how = (
        f"{len(clips)} held-out clips, {sum(clip.seconds for clip in clips):.0f} s; the limit is {given.many} steps of "
        f"v_3m_pc; no mel consistency. `recommended` is {choice}."
    )
    facts = describe()
    where = " · ".join(f"{name} {value}" for name, value in facts.items())
    text = f"# Agreement with many steps on a trained vocoder\n\n{where}\n\n{how}\n\n{table(figures)}\n"
    print(text)
    files.write_text(given.out, text)
    record = {"environment": facts, "model": vocoder.model_hash, "figures": figures}
    files.write_text(given.out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
