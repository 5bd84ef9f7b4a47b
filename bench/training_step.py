"""A training step of the vocoder by its parts, in float32 and in mixed precision, for one or several source trees.

`python bench/training_step.py --data data/asterisk-en --trees . ../before` measures steps of `speech_mel`, with
augmented crops, of the shipped models' network and a smaller one; it writes `bench/results/training_step.md`.
`../before` is another version, such as `git worktree add ../before TAG` makes; rates are times that of the last tree.

Each tree has a process of its own, and they take turns: other work on the machine slows all of them alike. All in one
thread and in its CPU time. The parts are: *crops*, read and augmented; *forward*, the loss; *backward*; and *update*,
clipping, AdamW and the moving average of the weights. The median step of all rounds is reported.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "training_step.md"
# Every choice that recipes make otherwise from version to version.
COMMON = (
    *("+recipe=speech_mel", "augmentation=speech", "objective=x0", "data.batch_size=8", "data.crop_samples=16384"),
    *("network.fold=1", "network.block=residual", "task.stft_weight=1"),
)
NETWORKS = {
    "channels 256, 384; blocks 2, 4": ("network.channels=[256,384]", "network.blocks=[2,4]"),
    "channels 160, 192; blocks 1, 4": ("network.channels=[160,192]", "network.blocks=[1,4]"),
}
PRECISIONS = ("float32", "bfloat16")
PARTS = ("crops", "forward", "backward", "update")
STEPS = 3  # of a turn


class Run:
    """A run of the recipe, without a trainer.

    Args:
        data: folder of a prepared corpus.
        network: one of `NETWORKS`.
    """

    def __init__(self, data: str, network: str):
        from torch.optim.swa_utils import AveragedModel

        from audiodiff import config, schema
        from audiodiff.training.callbacks import ExponentialMovingAverage

        cfg = config.compose([*COMMON, f"data.path={data}", *NETWORKS[network]])
        self.data, self.model, self.task = (schema.build(cfg, part) for part in ("data", "model", "task"))
        self.data.setup("fit")
        self.model.train()
        self.optimizer = schema.build(cfg, "optimizer")(self.model.parameters())
        average = ExponentialMovingAverage()
        self.average = AveragedModel(self.model, use_buffers=False, **average._kwargs)
        self.size, self.draw = self.data.batch_size, 0

    def step(self, precision: str) -> list[float]:
        """CPU seconds of each of `PARTS`."""
        import torch

        from audiodiff.training.batch_random import BatchRandom

        times = [time.process_time()]
        crops = self.data.crops
        batch = crops.collate([crops[draw] for draw in range(self.draw, self.draw + self.size)])
        times.append(time.process_time())
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = self.task.loss(self.model, batch, BatchRandom(self.draw))["loss"]
        times.append(time.process_time())
        self.optimizer.zero_grad()
        loss.backward()
        times.append(time.process_time())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        times.append(time.process_time())
        self.draw += self.size
        return [after - before for before, after in itertools.pairwise(times)]

    @property
    def seconds(self) -> float:
        """Audio of a step."""
        return self.size * self.data.crop_samples / self.data.sample_rate


def work(data: str) -> None:
    """Answer each line `[network, precision]` of the standard input with the times of `STEPS` steps."""
    import torch

    from audiodiff import train

    # As the training command does; older versions have no `retain_freed_memory`.
    torch.set_flush_denormal(True)
    getattr(train, "retain_freed_memory", bool)()
    torch.set_num_threads(1)
    runs: dict[str, Run] = {}
    for line in sys.stdin:
        network, precision = json.loads(line)
        if network not in runs:
            runs[network] = Run(data, network)
            for one in PRECISIONS:
                runs[network].step(one)  # a warm-up
        run = runs[network]
        print(json.dumps([run.seconds, [run.step(precision) for _ in range(STEPS)]]), flush=True)


def start(tree: str, data: str) -> subprocess.Popen:
    """A process that measures the code of a source tree."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"PYTHONPATH": str(Path(tree).resolve())}
    command = [sys.executable, __file__, "--work", "--data", data]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measure(trees: list[str], data: str, rounds: int) -> tuple[float, dict[tuple, list[list[float]]]]:
    """Seconds of audio of a step, and the times of all steps by network, precision and tree."""
    processes = {tree: start(tree, data) for tree in trees}
    cases = [(network, precision) for network in NETWORKS for precision in PRECISIONS]
    found: dict[tuple, list[list[float]]] = {(*case, tree): [] for case in cases for tree in trees}
    seconds = 0.0
    for _ in range(rounds):
        for case in cases:
            for tree, process in processes.items():
                process.stdin.write(json.dumps(case) + "\n")
                process.stdin.flush()
                seconds, steps = json.loads(process.stdout.readline())
                found[(*case, tree)] += steps
    for process in processes.values():
        process.stdin.close()
        process.wait()
    return seconds, found


def version(tree: str) -> str:
    """The commit of a source tree."""
    return subprocess.check_output(["git", "-C", tree, "rev-parse", "--short", "HEAD"], text=True).strip()


def rows(trees: list[str], seconds: float, found: dict[tuple, list[list[float]]]) -> list[str]:
    """Lines of the table."""
    lines = []
    for (network, precision, tree), steps in found.items():
        step = statistics.median(map(sum, steps))
        parts = [statistics.median(times) for times in zip(*steps, strict=True)]
        ratio = statistics.median(map(sum, found[network, precision, trees[-1]])) / step
        cells = [network, precision, version(tree), *(f"{1e3 * part:.0f}" for part in (*parts, step))]
        lines.append(f"| {' | '.join(cells)} | {seconds / step:.1f} | {ratio:.2f} |")
    return lines


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="folder of a prepared corpus")
    parser.add_argument("--trees", nargs="+", default=["."], help="source trees, the reference last (default: this)")
    parser.add_argument("--rounds", type=int, default=5, help=f"of {STEPS} steps each (default: 5)")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(chosen.data)
        return
    seconds, found = measure(chosen.trees, chosen.data, chosen.rounds)
    from audiodiff.evaluation import environment
    from audiodiff.files import write_text

    head = ["network", "precision", "tree", *(f"{part}, ms" for part in PARTS), "step, ms", "audio s per s", "rate"]
    table = "\n".join([f"| {' | '.join(head)} |", "|---|---|---|" + "--:|" * 7, *rows(chosen.trees, seconds, found)])
    facts = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if key != "threads")
    how = f"Medians of {chosen.rounds * STEPS} steps; one thread, CPU time; rate: times that of the last tree."
    print(table)
    write_text(RESULTS, f"# A training step of the vocoder\n\n{facts}\n\n{how}\n\n{table}\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
