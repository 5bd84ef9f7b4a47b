"""Bandwidth extension: an upsampler over its steps, beside others, sinc interpolation and spectral folding.

`python bench/upsampling.py --model MODEL --beside regressor=OTHER --data data/asterisk-it` resamples held-out clips to
`--rates` and brings them back: log-spectral distance of all and of the generated band, PESQ-WB, STOI, word errors of
clips with an English text, speed. Others are evaluated at one step. A regressor is the same network, trained by
the same spectral distances in one evaluation and without repulsion (see `recipes/super_resolution`).

With `visqol-python` installed (Apache-2.0) there is a column of ViSQOL, of speech by the polynomial mapping of the
similarity unless its extra `lattice` is installed, too; `--visqol audio` is for sounds and music.

Writes `bench/results/upsampling.md` and `.json`.
"""

import argparse
import importlib.util
import json
import os
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np

from audiodiff.data.bandwidth import with_bandwidth
from audiodiff.data.manifest import Manifest
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.report import Report, markdown, plain
from audiodiff.evaluation.upsampling_evaluation import evaluate, upsampling_report
from audiodiff.files import write_text
from audiodiff.metrics import Metric
from audiodiff.pipelines.upsampler import Upsampler

RESULTS = Path(__file__).parent / "results"
STEPS = (1, 2, 4)


@cache
def _visqol(mode: str) -> Any:
    from visqol import VisqolApi

    scorer = VisqolApi()
    scorer.create(mode=mode)
    return scorer


def visqol(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, mode: str = "speech") -> float:
    """MOS-LQO of one of ViSQOL's modes; NaN where it finds nothing to compare."""
    clips = (reference.astype(float), estimate.astype(float))
    try:
        return float(_visqol(mode).measure_from_arrays(*clips, sample_rate).moslqo)
    except (IndexError, ValueError):  # no patch of the recording is active, or it is shorter than one
        return float("nan")


def visqol_metric(mode: str) -> Metric:
    """The column of ViSQOL, in its mode for speech or for other audio."""
    rate = {"speech": "16 kHz", "audio": "48 kHz"}[mode]
    text = "Similarity of gammatone spectrograms (Chinen et al. 2020), mapped to a mean opinion score"
    return Metric("visqol", "ViSQOL", "MOS", "higher", partial(visqol, mode=mode), 2, f"{text}; {mode} mode, {rate}.")


def main() -> None:
    """Evaluate on every corpus and rate, and write the tables."""
    arguments = _arguments()
    upsampler = Upsampler.from_pretrained(arguments.model)
    systems: dict[str, tuple[Upsampler, int | None]] = {}
    for beside in arguments.beside:
        name, _, folder = beside.partition("=")
        systems[name] = (Upsampler.from_pretrained(folder), 1)
    systems |= {f"{steps} step{'s' * (steps > 1)}": (upsampler, steps) for steps in arguments.steps}
    wanted = arguments.visqol != "none" and importlib.util.find_spec("visqol")
    more = [visqol_metric(arguments.visqol)] if wanted else []
    pages, content = [], {}
    for folder in arguments.data:
        manifest = Manifest.load(folder)
        if arguments.min_bandwidth is not None:
            (manifest,) = with_bandwidth([manifest], arguments.min_bandwidth)
        for rate in arguments.rates:
            settings = Settings(limit=arguments.limit, splits=tuple(arguments.split))
            evaluation = evaluate(systems, manifest, settings, rate, arguments.metrics, more)
            report = upsampling_report(evaluation, upsampler.sample_rate)
            title = f"{Path(folder).name}, {rate} Hz to {upsampler.sample_rate} Hz"
            pages.append(_page(title, report))
            content[title] = plain(report.data, digits=6)
    path = RESULTS / arguments.name
    write_text(path.with_suffix(".md"), "# Bandwidth extension\n\n" + "\n".join(pages))
    write_text(path.with_suffix(".json"), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(path.with_suffix(".md"))


def _page(title: str, report: Report) -> str:
    """The lead and the table of a report, under a title."""
    text = markdown(report)
    start, end = text.index("## Scores"), text.index("## Metrics")
    return f"## {title}\n\n{report.lead[0]}\n\n{text[start:end].removeprefix('## Scores').strip()}\n\n{report.facts}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint folder, or name of a shipped model")
    parser.add_argument("--beside", nargs="+", default=[], metavar="NAME=FOLDER", help="others, at one step")
    parser.add_argument("--data", nargs="+", required=True, help="prepared data with held-out clips")
    parser.add_argument("--rates", nargs="+", type=int, default=[8000], help="Hz that recordings are resampled to")
    parser.add_argument("--steps", nargs="+", type=int, default=list(STEPS))
    parser.add_argument("--split", nargs="+", default=list(Settings.splits))
    parser.add_argument("--metrics", nargs="*", help="besides log-spectral distance (default: all)")
    parser.add_argument("--visqol", choices=("speech", "audio", "none"), default="speech", help="mode of ViSQOL")
    parser.add_argument("--min-bandwidth", type=float, help="Hz that recordings must reach, as data.min_bandwidth")
    parser.add_argument("--limit", type=int, default=30, help="clips of each corpus")
    parser.add_argument("--name", default="upsampling", help="of the files in bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
