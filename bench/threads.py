"""Number of OpenMP threads and their waiting policy, on an idle machine and next to a busy process.

Between two parallel regions OpenMP threads spin for a while before they sleep. With a free core for each thread,
spinning makes the next region start immediately; without, it takes time from the thread that has work.
`python bench/threads.py` starts one process per setting (`OMP_NUM_THREADS`, `GOMP_SPINCOUNT`, `OMP_WAIT_POLICY`, which
OpenMP reads once), alone and next to one busy process, and measures the median time of `Vocoder.generate` for clips of
one and five seconds and of a training step of the vocoder. It writes `bench/results/threads.md`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "threads.md"
SETTINGS = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {},
    "2, GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "2, GOMP_SPINCOUNT=3000": {"GOMP_SPINCOUNT": "3000"},
    "2, GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "2, GOMP_SPINCOUNT=300": {"GOMP_SPINCOUNT": "300"},
    "2, OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
BUSY = "import numpy as np\na = np.random.rand(256, 256)\nwhile True: a @ a"
WORKLOADS = ("1 s", "5 s", "training step")
TEXT = """# Threads

`python bench/threads.py`

{facts}

Median seconds of `Vocoder.generate` (`speech-16k`, default settings) for clips of one and five seconds, and of a
training step (8 crops of 16384 samples), alone and next to one busy process.

| | {head} |
|---|{rule}|
{rows}
"""


def run_workloads(repetitions: int) -> dict[str, float]:
    """Median seconds of each workload, in this process."""
    import torch

    from audiodiff import Vocoder
    from audiodiff.models.vocoder_model import VocoderModel

    vocoder = Vocoder.from_pretrained("speech-16k")
    generator = torch.Generator().manual_seed(0)

    def median(run) -> float:
        run()
        times = []
        for _ in range(repetitions):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def synthesis(seconds: float):
        frames = round(seconds * vocoder.sample_rate / vocoder.spec.hop_length)
        mel = torch.randn(vocoder.spec.n_mels, frames, generator=generator) - 5
        return lambda: vocoder.generate(mel)

    seconds_of = {f"{seconds} s": median(synthesis(seconds)) for seconds in (1, 5)}
    model = VocoderModel.from_pretrained("speech-16k").train().requires_grad_(True)
    waveform = 0.1 * torch.randn(8, 16384, generator=generator)
    noise = torch.randn(8, 1, 16384, generator=generator)
    t = torch.linspace(0.1, 0.9, 8)

    def step() -> None:
        model.zero_grad()
        model.estimate(waveform, noise, t).loss.mean().backward()

    return seconds_of | {"training step": median(step)}


def measure(setting: dict[str, str], busy: int, repetitions: int) -> dict[str, float]:
    """`run_workloads` in a new process with this environment, next to `busy` busy processes."""
    plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    busy_processes = [
        subprocess.Popen([sys.executable, "-c", BUSY], env=plain | {"OMP_NUM_THREADS": "1"}) for _ in range(busy)
    ]
    try:
        command = [sys.executable, __file__, "--work", "--repetitions", str(repetitions)]
        return json.loads(subprocess.run(command, env=plain | setting, capture_output=True, check=True).stdout)
    finally:
        for process in busy_processes:
            process.kill()
            process.wait()


def main() -> None:
    """Measure all settings and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--repetitions", type=int, default=5, help="runs per workload; the median is reported (default: %(default)s)"
    )
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(run_workloads(arguments.repetitions)))
        return
    from audiodiff.evaluation import environment
    from audiodiff.files import write_text

    rows = []
    for name, setting in SETTINGS.items():
        cells = []
        for busy in (0, 1):
            seconds = measure(setting, busy, arguments.repetitions)
            cells += [f"{seconds[workload]:.3f}" for workload in WORKLOADS]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    head = [f"{workload}, {place}" for place in ("idle", "one busy process") for workload in WORKLOADS]
    facts = environment.describe()
    line = f"{facts['date']}, {facts['cpu']}, {facts['cpu_cores']} cores, torch {facts['torch']}."
    text = TEXT.format(facts=line, head=" | ".join(head), rule="--:|" * (len(head) - 1) + "--:", rows="\n".join(rows))
    write_text(RESULTS, text)


if __name__ == "__main__":
    main()
