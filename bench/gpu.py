"""Speed of whole sampling calls on a GPU: eager, compiled and captured, against what its matrix products allow.

`python bench/gpu.py` needs a CUDA device and nothing but this package; it prints its tables and writes
`bench/results/gpu.md` and `gpu.json`. With `--device cpu` it shows that it runs, and writes `gpu_cpu.*` instead.

The network is that of `conf/network/stft.yaml`, at 16 kHz, with fresh weights. A call goes from noise to data; drawing
the noise, coloring and mel consistency are left out. The four ways of running it are those of `pipelines.compiled`:
the network as it is or through `torch.compile`, the call launched kernel by kernel or captured in a CUDA graph. What is
captured is lengthened to its bucket and masked, as `Vocoder` does.

- *real-time factor*: seconds of computing per second of audio. All ways take turns; median of the rounds.
- *launches*: what the host hands to the device in a call, copies included; *kernels*: what then runs on the device.
- *of the bound*: the network's matrix products (counted by `torch.utils.flop_counter`, convolutions included, Fourier
  transforms not) in the time that they would take at the rate of one large matrix product of the same precision,
  measured in the same run, as a share of the time of the call.
- *off eager*: largest difference from the eager call, relative to its peak.

"tf32" is float32 with products of fewer digits, which PyTorch permits convolutions by default on recent GPUs.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.compiled import CudaRecorder, RecordedSampling, bucket, compiled_denoiser

RESULTS = Path(__file__).parent / "results"
SAMPLE_RATE, HOP, BANDS = 16000, 256, 80
PRECISIONS = {"cuda": ("float32", "tf32", "bfloat16"), "cpu": ("float32",)}
# Side of the matrix product that sets the bound: large enough to keep the whole device busy.
SIDE = {"cuda": 8192, "cpu": 1024}
SAMPLER = "dpmpp_2m"
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")


@dataclass(frozen=True)
class Setting:
    """What is measured where.

    Args:
        device: on which.
        seconds: of audio in each clip.
        batches: clips at once.
        steps: network calls.
        rounds: of which the median counts.
    """

    device: torch.device
    seconds: float
    batches: Sequence[int]
    steps: int
    rounds: int


@dataclass(frozen=True)
class Row:
    """One way of running one batch in one precision; counts are None where there are no kernels."""

    precision: str
    batch: int
    way: str
    real_time_factor: float
    launches: int | None
    kernels: int | None
    of_the_bound: float
    off_eager: float


def build(device: torch.device) -> Denoiser:
    """The default vocoder network with weights that make it do something."""
    torch.manual_seed(0)
    network = Network(StftFrontend(), BANDS, HOP, channels=[384, 384], blocks=[3, 3])
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.01)
    return Denoiser(network, Cosine(), V()).to(device).eval().requires_grad_(False)


def precise(name: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """Choose the arithmetic of products, and the context for the network."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    return partial(torch.autocast, device.type, torch.bfloat16) if name == "bfloat16" else nullcontext


def product_rate(name: str, device: torch.device) -> float:
    """Multiplications and additions a second in one large matrix product."""
    side = SIDE[device.type]
    dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    found = [seconds_of(lambda: a @ b, device) for _ in range(12)]
    return 2 * side**3 / statistics.median(found[2:])


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time until the device is done."""
    finish(device)
    started = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - started


def finish(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ways(
    denoiser: Denoiser, context: Callable[[], AbstractContextManager], setting: Setting, batch: int
) -> dict[str, Callable[[], Tensor]]:
    """The ways of running a call, each a function of no arguments; its answer is (batch, 1, samples)."""
    frames = round(setting.seconds * SAMPLE_RATE / HOP)
    samples, longer = frames * HOP, bucket(frames)
    x1 = torch.randn(batch, 1, longer * HOP, device=setting.device)
    mel = torch.randn(batch, BANDS, longer, device=setting.device)
    plain, padded = Condition(mel[..., :frames]), Condition(mel, torch.full((batch,), samples, device=setting.device))
    sampler = presets.build(SAMPLER, setting.steps)
    compiled = compiled_denoiser(denoiser)

    def launched(denoiser: Denoiser) -> Tensor:
        with context():
            return sampler(denoiser, x1[..., :samples], plain)

    found = {"eager": partial(launched, denoiser), "compiled": partial(launched, compiled)}
    if setting.device.type == "cuda":
        record = CudaRecorder(setting.device)
        for way, network in (("captured", denoiser), ("compiled and captured", compiled)):
            call = RecordedSampling(network, context, record)
            found[way] = partial(call, SAMPLER, sampler, x1, padded, torch.randn_like)
    return found


def launches(work: Callable[[], object], device: torch.device) -> tuple[int | None, int | None]:
    """What the host launches and what runs on the device in one call."""
    if device.type != "cuda":
        return None, None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        work()
        finish(device)
    events = seen.events()
    kernels = [e for e in events if e.device_type == DeviceType.CUDA and not e.name.startswith(("Memcpy", "Memset"))]
    return sum(e.name.startswith(LAUNCHES) for e in events), len(kernels)


@torch.inference_mode()
def measure(setting: Setting) -> tuple[list[Row], dict[str, float]]:
    """All rows, and the rate of the large matrix product in each precision."""
    denoiser, device = build(setting.device), setting.device
    rows, rates = [], {}
    for precision in PRECISIONS[device.type]:
        # Compilations of another precision count towards the number that PyTorch allows.
        torch._dynamo.reset()
        context = precise(precision, device)
        rates[precision] = product_rate(precision, device)
        for batch in setting.batches:
            works = ways(denoiser, context, setting, batch)
            with FlopCounterMode(display=False) as counter:
                works["eager"]()
            least = counter.get_total_flops() / rates[precision]
            rows += compare(works, setting, precision, batch, least)
    return rows, rates


def compare(
    works: dict[str, Callable[[], Tensor]], setting: Setting, precision: str, batch: int, least: float
) -> list[Row]:
    """One row for each way; `least` is the time of the matrix products alone, in seconds."""
    answers = {way: work() for way, work in works.items()}
    times = {way: [] for way in works}
    for _ in range(setting.rounds):
        for way, work in works.items():
            times[way].append(seconds_of(work, setting.device))
    eager = answers["eager"]
    audio = batch * eager.shape[-1] / SAMPLE_RATE
    rows = []
    for way, work in works.items():
        spent = statistics.median(times[way])
        off = (answers[way][..., : eager.shape[-1]] - eager).abs().max() / eager.abs().max()
        counts = launches(work, setting.device)
        rows.append(Row(precision, batch, way, spent / audio, *counts, least / spent, float(off)))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown; how much faster than eager is that of the same precision and batch."""
    lines = [
        "| precision | batch | way | real-time factor | vs eager | launches | kernels | of the bound | off eager |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    eager = {(row.precision, row.batch): row.real_time_factor for row in rows if row.way == "eager"}
    for row in rows:
        faster = eager[row.precision, row.batch] / row.real_time_factor
        counts = ("–" if count is None else str(count) for count in (row.launches, row.kernels))
        lines.append(
            f"| {row.precision} | {row.batch} | {row.way} | {row.real_time_factor:.5f} | {faster:.2f}x | "
            f"{' | '.join(counts)} | {100 * row.of_the_bound:.0f}% | {row.off_eager:.0e} |"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    parser.add_argument("--device", default="cuda", help=f"cuda, cuda:1, cpu {default}")
    parser.add_argument("--seconds", type=float, default=4.0, help=f"length of a clip {default}")
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 16), help=f"clips at once {default}")
    parser.add_argument("--steps", type=int, default=6, help=f"network calls {default}")
    parser.add_argument("--rounds", type=int, default=21, help=f"measurements of each {default}")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"folder of the results {default}")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    given = arguments()
    device = torch.device(given.device)
    setting = Setting(device, given.seconds, given.batches, given.steps, given.rounds)
    rows, rates = measure(setting)
    where = environment.describe(device) | {"cuda": torch.version.cuda}
    told = " · ".join(f"{key} {value}" for key, value in where.items() if value is not None)
    bound = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in rates.items())
    how = (
        f"{setting.steps} calls of {SAMPLER}, clips of {setting.seconds:g} s, median of {setting.rounds} rounds. "
        f"Measured rate of a large matrix product, in TFLOP/s: {bound}."
    )
    text = table(rows)
    print(f"{how}\n\n{text}")
    stem = given.out / ("gpu" if device.type == "cuda" else f"gpu_{device.type}")
    title = f"# Speed of sampling calls on {where['device']}"
    write_text(stem.with_suffix(".md"), f"{title}\n\n{told}\n\n{how}\n\n{text}\n")
    record = {"environment": where, "rates": rates, "rows": [asdict(row) for row in rows]}
    write_text(stem.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    print(f"written: {stem}.md, .json")


if __name__ == "__main__":
    main()
