"""What the conversion of another program's mels costs: PESQ-WB and STOI of a vocoder on its own and on converted mels.

`python bench/mel_conversion.py --data data/asterisk-it` computes mels of held-out recordings in the vocoder's own spec
and in `--source`, converts the latter (as `audiodiff render --convert-mel`), synthesizes both with the same seed, and
adds a section to `bench/results/mel_conversion.md`. Mels that a model predicts are smoother than those of recordings:
this is the cost of the conversion alone.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from audiodiff.audio import io
from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.audio.mel.conversion import convert_mel
from audiodiff.data.manifest import Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import HeldOut, choose, clip_list_hash
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.files import write_text
from audiodiff.metrics.pesq import pesq_wb
from audiodiff.metrics.stoi import stoi
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results" / "mel_conversion.md"


def scores(vocoder: Vocoder, held_out: HeldOut, mels: list[torch.Tensor]) -> np.ndarray:
    """PESQ-WB and STOI of each clip, (clips, 2)."""
    rows = []
    for recording, mel, seed in zip(held_out.recordings, mels, held_out.seeds, strict=True):
        made = vocoder.generate(mel, clip_seeds=[seed]).samples[: len(recording)]
        pair = recording[: len(made)].numpy(), made.numpy()
        rows.append([metric(*pair, vocoder.sample_rate) for metric in (pesq_wb, stoi)])
    return np.array(rows)


def section(vocoder: Vocoder, held_out: HeldOut, source: MelSpec, names: tuple[str, str], title: str) -> str:
    """Markdown of one vocoder: its own mels and converted ones, which are called `names`."""
    rate = vocoder.sample_rate
    converted = [
        convert_mel(
            MelSpectrogram(source)(io.resample(recording, rate, source.sample_rate)), source, vocoder.spec, True
        ).mel
        for recording in held_out.recordings
    ]
    own, other = (scores(vocoder, held_out, mels) for mels in (held_out.mels, converted))
    change = [bootstrap(other[:, k] - own[:, k]) for k in range(2)]
    lines = [f"## {title}", "", "| mel | PESQ-WB | STOI |", "|---|--:|--:|"]
    for name, values in zip(names, (own, other), strict=True):
        lines.append(f"| {name} | {np.nanmean(values[:, 0]):.2f} | {np.nanmean(values[:, 1]):.3f} |")
    cells = [f"{x.mean:+.{n}f} ({x.low:+.{n}f} to {x.high:+.{n}f})" for x, n in zip(change, (2, 3), strict=True)]
    return "\n".join([*lines, f"| difference | {' | '.join(cells)} |", ""])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="speech-16k", help="folder or name of a vocoder")
    parser.add_argument("--data", required=True, help="manifest of held-out recordings, or its folder")
    parser.add_argument("--source", default="hifigan_22k", help="name of the mel spec to convert from")
    parser.add_argument("--limit", type=int, default=10, help="clips")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    vocoder, manifest = Vocoder.from_pretrained(arguments.model), Manifest.load(arguments.data)
    clips, _ = choose(manifest, limit=arguments.limit)
    held_out = HeldOut.load(vocoder, manifest, clips, 0)
    title = (
        f"{arguments.model} ({vocoder.model_hash[:12]}), {len(clips)} clips of {manifest.root.resolve().name}, "
        f"{held_out.seconds.sum():.0f} s, list {clip_list_hash(clips)[:12]}"
    )
    names = "its own", f"converted from {arguments.source}"
    text = section(vocoder, held_out, MelSpec.preset(arguments.source), names, title)
    facts = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if value is not None)
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Conversion of mels\n"
    write_text(RESULTS, f"{before}\n{text}\n{facts}\n")
    print(text, f"written: {RESULTS}", sep="\n")


if __name__ == "__main__":
    main()
