"""The watermark: how often it is found after what files go through, how often where there is none, and what it costs.

`python bench/watermark.py --data data/asterisk-en data/fillets-cs data/sounds-all data/music --null data/...` marks
`--limit` clips of each folder, whole (at most `--seconds`) and cropped to 3 s at a random place afterwards, and detects
it after each of `watermark_attacks.ATTACKS`. Found means a p-value of at most 1e-5. False positives are counted in
`--windows` stretches of 1 to 4 s of recorded clips, which hold no watermark, with the sequence of the package, and with
`--sequences` random others, which tells more of the tail than one sequence does. What marks cost is scored by PESQ-WB
of speech and ViSQOL (`visqol-python`), beside MP3 and Opus at 128 kbit/s, and as a difference of loudness.

Intervals of shares are those of Wilson, of no or all cases Clopper and Pearson's (95 %). Writes
`bench/results/watermark.md` and `.json`; `--data` and `--null` may be measured by two commands, one after the other or
at once.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor
from watermark_attacks import ATTACKS

from audiodiff.audio import io, watermark
from audiodiff.audio.loudness import lufs
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.files import write_text
from audiodiff.metrics.pesq import pesq_wb

RESULTS = Path(__file__).parent / "results"
CROP = 3.0  # s
LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
COSTS = ("watermark", "MP3, 128 kbit/s", "Opus, 128 kbit/s")
QUIET = 1e-3  # of full scale: a stretch whose peak is below says nothing


def main() -> None:
    """Measure, and write the tables."""
    arguments = _arguments()
    path = (RESULTS / arguments.name).with_suffix(".json")
    carriers = [carrier for folder in arguments.data for carrier in _carriers(Path(folder), arguments)]
    parts: dict[str, Callable[[], Any]] = {
        "carriers": lambda: _count(name for name, *_ in carriers),
        "found": lambda: _survival(carriers),
        "costs": lambda: _costs(carriers, arguments.scored),
        "null": lambda: _false_positives(arguments),
    }
    for name, measure in parts.items():
        if carriers if name != "null" else arguments.null:
            part = measure()
            # Read again: another process may measure another part.
            record = json.loads(path.read_text()) if path.exists() else {}
            record |= {"environment": environment.describe(), "strength": watermark.STRENGTH, name: part}
            write_text(path, json.dumps(record) + "\n")
            print(f"{path}: {name}", flush=True)
    record = json.loads(path.read_text())
    if parts.keys() <= record.keys():
        write_text(path.with_suffix(".md"), _page(record))
        print(path.with_suffix(".md"))


def _carriers(folder: Path, arguments: argparse.Namespace) -> list[tuple[str, Tensor, int, bool]]:
    """(data, samples (C, T), rate, whether it is speech) of clips of at least three seconds, in a fixed order."""
    found: list[tuple[str, Tensor, int, bool]] = []
    for clip in _shuffled(Manifest.load(folder)):
        if clip.seconds < CROP + 0.5 or len(found) == arguments.limit:
            continue
        length = round(min(clip.seconds, arguments.seconds) * clip.sample_rate)
        audio = io.read(folder / clip.path, samples=length, channels=min(clip.channels, 2))
        if audio.samples.abs().max() > QUIET:
            found.append((folder.name, audio.samples, audio.sample_rate, bool(clip.text)))
    return found


def _shuffled(manifest: Manifest) -> list[Clip]:
    order = np.random.default_rng(0).permutation(len(manifest.clips))
    return [manifest.clips[number] for number in order]


def _survival(carriers: list[tuple[str, Tensor, int, bool]]) -> dict[str, Any]:
    """By attack, of whole clips and of crops: data, p-value of each."""
    random = np.random.default_rng(1)
    rows: dict[str, Any] = {name: {"whole": [], "crop": []} for name in ATTACKS}
    for data, samples, rate, _ in carriers:
        marked = watermark.embed(samples, rate)
        for name, attack in ATTACKS.items():
            changed, own = attack(marked, rate)
            rows[name]["whole"].append((data, watermark.detect(changed, own).p_value))
            room = changed.shape[-1] - round(CROP * own)
            start = int(random.integers(max(room, 0) + 1))
            crop = changed[:, start : start + round(CROP * own)]
            rows[name]["crop"].append((data, watermark.detect(crop, own).p_value))
    return rows


def _costs(carriers: list[tuple[str, Tensor, int, bool]], count: int) -> dict[str, Any]:
    """PESQ-WB of speech, ViSQOL, and changes of loudness and peak, of the mark and of two codecs."""
    import warnings

    from upsampling import visqol

    spread = carriers[:: max(len(carriers) // count, 1)][:count]
    rows: dict[str, dict[str, list[float]]] = {name: {} for name in COSTS}
    for _, samples, rate, speech in spread:
        plain = samples.mean(0)
        for name in COSTS:
            changed, own = ATTACKS[name](samples, rate) if name in ATTACKS else (watermark.embed(samples, rate), rate)
            other = io.resample(changed.mean(0), own, rate)
            other = torch.nn.functional.pad(other, (0, max(len(plain) - len(other), 0)))[: len(plain)]
            scores = rows[name]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if speech:
                    scores.setdefault("pesq", []).append(pesq_wb(plain.numpy(), other.numpy(), rate))
                mode = "speech" if speech else "audio"
                scores.setdefault(f"visqol {mode}", []).append(visqol(plain.numpy(), other.numpy(), rate, mode))
            scores.setdefault("loudness", []).append(float(lufs(other, rate) - lufs(plain, rate)))
            change = other.abs().max() / plain.abs().max()
            scores.setdefault("peak", []).append(20 * float(torch.log10(change)))
    return rows


def _windows(arguments: argparse.Namespace) -> Iterator[tuple[str, Tensor, int]]:
    """Stretches of recorded clips of at most `--stretch` seconds, one of each clip first, then more of long ones."""
    clips = [
        (Path(folder), clip)
        for folder in arguments.null
        for clip in _shuffled(Manifest.load(folder))
        if not clip.synthetic and clip.seconds >= 1
    ]
    for turn in range(1000):
        for folder, clip in clips:
            start, length = (round(seconds * clip.sample_rate) for seconds in (turn * arguments.stretch, 1))
            if start + length > clip.samples:
                continue
            size = round(arguments.stretch * clip.sample_rate)
            audio = io.read(folder / clip.path, start=start, samples=size, channels=min(clip.channels, 2))
            if audio.samples.abs().max() > QUIET:
                yield folder.name, audio.samples, audio.sample_rate


def _false_positives(arguments: argparse.Namespace) -> dict[str, Any]:
    """Counts of p-values at or below each of `LEVELS`, with the sequence of the package and with random ones."""
    random = np.random.default_rng(2)
    signs = random.integers(0, 2, (arguments.sequences, watermark.BANDS, watermark.PERIOD)) * 2.0 - 1
    others = np.fft.rfft(signs)
    own: list[float] = []
    drawn: list[float] = []
    sources: list[str] = []
    files, started = 0, time.process_time()
    for name, samples, rate in _windows(arguments):
        evidence = watermark._evidence(samples.double().numpy(), rate)
        own.append(watermark._p_value(watermark._score(evidence), 1))
        drawn += [watermark._p_value(float(score), 1) for score in _scores(evidence, others)]
        sources.append(name)
        files += 1
        if files == arguments.windows:
            break
    return {
        "windows": files,
        "sources": _count(sources),
        "own": {f"{level:g}": sum(p <= level for p in own) for level in LEVELS},
        "others": {f"{level:g}": sum(p <= level for p in drawn) for level in LEVELS},
        "trials": len(drawn),
        "least": min(own, default=1.0),
        "seconds": arguments.stretch,
        "processor_seconds": time.process_time() - started,
    }


def _scores(evidence: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """`watermark._score` of evidence with the spectra of other signs (sequences, bands, frequencies)."""
    spectra = np.einsum("obf,sbf->sof", np.conj(np.fft.rfft(evidence)), signs)
    norm = np.sqrt(np.square(evidence).sum((1, 2)))[:, None]
    return (np.fft.irfft(spectra, n=watermark.PERIOD) / np.maximum(norm, 1e-9)).max((1, 2))


def _count(names: Any) -> dict[str, int]:
    names = list(names)
    return {name: names.count(name) for name in dict.fromkeys(names)}


def _share(hits: int, count: int) -> str:
    """A share with its interval, in percent."""
    method = "exact" if hits in (0, count) else "wilson"
    low, high = binomtest(hits, count).proportion_ci(method=method)
    digits = 3 if count > 5000 else 1
    return f"{100 * hits / count:.{digits}f} [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"


def _page(record: dict[str, Any]) -> str:
    facts, null = record["environment"], record["null"]
    clips = sum(record["carriers"].values())
    listed = ", ".join(f"{name} {count}" for name, count in record["carriers"].items())
    lines = [
        "# Watermark",
        f"By `bench/watermark.py` (audiodiff {facts['audiodiff']}) on {facts['date'][:10]}, {facts['cpu']}, "
        f"{facts['cpu_cores']} cores. A strength of {record['strength']} dB. Found: p-value at most "
        f"{watermark.THRESHOLD:g}. In brackets the 95 % interval.",
        f"## Found, % of {clips} clips",
        f"Clips: {listed}. Median p-value, and the worst clip's, of crops.",
        "| after | whole | crop of 3 s | median p | worst p |\n| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, rows in record["found"].items():
        whole, crop = ([p for _, p in rows[part]] for part in ("whole", "crop"))
        cells = [_share(sum(p <= watermark.THRESHOLD for p in part), len(part)) for part in (whole, crop)]
        cells += [f"{np.median(crop):.0e}", f"{max(crop):.0e}"]
        lines[-1] += f"\n| {name} | {' | '.join(cells)} |"
    lines += ["## Found in crops of 3 s, % by data", _by_data(record)]
    lines += ["## False positives", _null_table(null)]
    lines += ["## Cost", _cost_table(record["costs"])]
    return "\n\n".join(lines) + "\n"


def _by_data(record: dict[str, Any]) -> str:
    names = list(record["carriers"])
    lines = [f"| after | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for name, rows in record["found"].items():
        hits = [[p <= watermark.THRESHOLD for data, p in rows["crop"] if data == own] for own in names]
        lines.append(f"| {name} | {' | '.join(f'{100 * sum(own) / len(own):.0f}' for own in hits)} |")
    return "\n".join(lines)


def _null_table(null: dict[str, Any]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in null["sources"].items())
    text = (
        f"{null['windows']:,} stretches of 1 to {null['seconds']:g} s of recordings ({listed}); the least p-value is "
        f"{null['least']:.2g}. With {null['trials'] // null['windows']} random sequences {null['trials']:,} trials."
    )
    lines = ["| p-value at most | bound, % | the sequence, % | random sequences, % |", "| ---: | ---: | ---: | ---: |"]
    for level in null["own"]:
        own, others = _share(null["own"][level], null["windows"]), _share(null["others"][level], null["trials"])
        lines.append(f"| {level} | {100 * float(level):g} | {own} | {others} |")
    return text + "\n\n" + "\n".join(lines)


def _cost_table(costs: dict[str, Any]) -> str:
    heads = {
        "pesq": "PESQ-WB, speech",
        "visqol speech": "ViSQOL, speech",
        "visqol audio": "ViSQOL, others",
        "loudness": "loudness, LU",
        "peak": "peak, dB",
    }
    lines = [f"| | {' | '.join(heads.values())} |", f"| --- |{' ---: |' * len(heads)}"]
    for name, scores in costs.items():
        cells = []
        for head in heads:
            own = bootstrap(np.array(scores.get(head, [])))
            values = np.array(scores.get(head, [np.nan]))
            worst = np.nanmin(values) if head in ("pesq", "visqol speech", "visqol audio") else np.nanmax(abs(values))
            cells.append(f"{own.mean:.3f} [{own.low:.3f}, {own.high:.3f}], worst {worst:.2f}" if own.clips else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=[], help="prepared data that is marked")
    parser.add_argument("--null", nargs="+", default=[], help="prepared data that is not")
    parser.add_argument("--limit", type=int, default=40, help="clips of each folder of --data")
    parser.add_argument("--seconds", type=float, default=10.0, help="longest clip")
    parser.add_argument("--stretch", type=float, default=4.0, help="seconds of a stretch of --null, at most")
    parser.add_argument("--windows", type=int, default=10_000, help="stretches of --null")
    parser.add_argument("--sequences", type=int, default=20, help="random sequences for false positives")
    parser.add_argument("--scored", type=int, default=100, help="clips whose quality is scored")
    parser.add_argument("--name", default="watermark", help="of the files in bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
