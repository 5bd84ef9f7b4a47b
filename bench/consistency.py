"""Where mel consistency belongs: after sampling, on every estimate of the network, or as a split of the process.

`python bench/consistency.py --data data/asterisk-en` renders held-out clips with the shipped vocoder (or `--model`) and
DDIM, with `PLACES`: so many iterations on the network's estimate of each call. The last call's estimate is the output,
so (0, 0, 0, 16) is the projection after sampling, and (4, 4, 4, 4) makes it the network's last layer at the same cost.
One iteration replaces, in every estimate, what the mel fixes by what it fixes it to, and leaves the rest to the
network: (1, 1, 1, 13) is the split into range and null space of Wang, Yu and Zhang (2022, arXiv 2212.00490, equation
13), with the mel's alternation in the place of a linear pseudo-inverse.

Writes `bench/results/consistency.md` and `.json`, with the mean difference from the projection after sampling.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch import Tensor
from vocoder_report import TRUTH, gains_table, quality_table
from vocoder_synthesis import HeldOut, Row, load, scored

from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import batch_noise
from audiodiff.diffusion.samplers import presets
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import choose, clip_list_hash
from audiodiff.evaluation.report import format_facts, plain
from audiodiff.evaluation.systems import System, synthesize
from audiodiff.files import write_text
from audiodiff.metrics import require_all
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results"
SAMPLER = "ddim"
AFTER = (0, 0, 0, 16)
PLACES = (
    AFTER,
    (4, 4, 4, 4),
    (1, 1, 1, 13),
    (0, 0, 8, 8),
    (0, 16),
    (8, 8),
    (16,),
    (0, 0, 0, 0),
    (0, 0, 0, 4),
    (0, 0, 0, 8),
    (0, 0, 0, 32),
    (0, 0, 0, 64),
)


class Projected:
    """A denoiser whose estimates are brought towards a mel, each by a number of iterations of its own."""

    def __init__(self, vocoder: Vocoder, mel: Tensor, iterations: Sequence[int]):
        self.model, self.mel, self.iterations = vocoder.model, mel, iter(iterations)
        self.schedule, self.t_max = vocoder.model.denoiser.schedule, vocoder.model.denoiser.t_max

    def __call__(self, x_t: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
        """The estimate of the clean signal (B, 1, T), consistent with the mel (B, M, F)."""
        estimate = self.model.denoiser(x_t, t, cond)
        iterations = next(self.iterations)
        if not iterations:
            return estimate
        waveform = self.model.restore(estimate[:, 0], self.mel)
        return self.model.normalize(self.model.project(waveform, self.mel, iterations), self.mel)[:, None]


def system(vocoder: Vocoder, place: Sequence[int]) -> System:
    """The vocoder with the given numbers of mel-consistency iterations after each step."""
    model, steps = vocoder.model, len(place)
    sampler = presets.build(SAMPLER, steps)

    @torch.inference_mode()
    def generate(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        mel = mel[None]
        noise = batch_noise([seed], 1, mel.shape[-1] * vocoder.spec.hop_length)
        # After the last step the result stays a waveform: converting it back would lose precision.
        denoiser = Projected(vocoder, mel, (*place[:-1], 0))
        white = sampler(denoiser, sampler.noise_scale(denoiser) * noise, model.embed_mel(mel))
        return model.project(model.restore(white[:, 0], mel), mel, place[-1])[0]

    label = f"{steps} step{'s' if steps > 1 else ''}: {', '.join(map(str, place))}"
    return System(label, label, "", generate)


def measure(vocoder: Vocoder, held_out: HeldOut, workers: int | None) -> tuple[dict[str, Row], dict[str, float]]:
    """Rows by label, and the speed of each, in times real time."""
    rows, speed = {}, {}
    for place in PLACES:
        one = system(vocoder, place)
        print(one.label, flush=True)
        waveforms, seconds = synthesize(one, held_out.inputs())
        rows[one.label] = Row(one.label, "audiodiff", one.label, "", 0.0, scored(waveforms, held_out, workers))
        speed[one.label] = sum(held_out.seconds) / float(seconds.sum())
    return rows, speed


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    parser.add_argument("--model", default="speech-16k", help=f"vocoder {default}")
    parser.add_argument("--data", default="data/asterisk-en", help=f"folder of a prepared corpus {default}")
    parser.add_argument("--clips", type=int, default=20, help=f"maximum number of held-out clips {default}")
    parser.add_argument("--workers", type=int, help="processes that compute metrics (default: one per core)")
    parser.add_argument("--seed", type=int, default=0, help=f"random seed {default}")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"output folder {default}")
    return parser.parse_args()


def main() -> None:
    """Render, score, write."""
    given = arguments()
    require_all()
    vocoder, manifest = Vocoder.from_pretrained(given.model), Manifest.load(given.data)
    clips, _ = choose(manifest, limit=given.clips)
    held_out = load(vocoder, manifest, clips, given.seed)
    truth = Row(TRUTH, TRUTH, "Ground truth", "", 0.0, scored(list(held_out.recordings), held_out, given.workers))
    rows, speed = measure(vocoder, held_out, given.workers)
    where = environment.describe("cpu") | {"model": vocoder.model_hash[:12]}
    how = (
        f"Iterations on the estimate of each step of {SAMPLER}; {len(clips)} held-out clips of {given.data} "
        f"(list SHA-256 `{clip_list_hash(list(clips))}`), seed {given.seed}."
    )
    base = system(vocoder, AFTER).label
    parts = [
        "# Where mel consistency belongs",
        format_facts(where),
        how,
        quality_table({TRUTH: truth} | rows),
        f"Gain over {base} (positive is better for every metric; * the interval excludes 0):",
        gains_table(rows, base),
        "Times faster than real time: " + "; ".join(f"{label} – {factor:.0f}" for label, factor in speed.items()) + ".",
    ]
    text = "\n\n".join(parts) + "\n"
    print(f"\n{text}")
    given.out.mkdir(parents=True, exist_ok=True)
    write_text(given.out / "consistency.md", text)
    record = {
        "environment": where,
        "how": how,
        "speed": speed,
        "scores": {name: row.scores for name, row in rows.items()},
    }
    write_text(given.out / "consistency.json", json.dumps(plain(record, digits=6), indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
