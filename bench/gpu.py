"""Speed of sampling on a GPU: eager, compiled and as a CUDA graph, against the bound set by its matrix products.

`python bench/gpu.py` needs a CUDA device and nothing but this package; it prints its tables and writes
`bench/results/gpu.md` and `gpu.json`. With `--device cpu` it checks that it runs, and writes `gpu_cpu.*` instead.

The network is that of `conf/network/stft.yaml` at 16 kHz, with random weights. A sampling call goes from noise to data;
drawing the noise, the prior and mel consistency are not included. The four modes are those of `pipelines.compiled`: the
network as it is or through `torch.compile`, the call launched kernel by kernel or captured in a CUDA graph. A captured
call is padded to its bucket and masked, as in `Vocoder`.

- *real-time factor*: seconds of computation per second of audio. All modes take turns; median of the rounds.
- *launches*: launches by the host in a call, copies included; *kernels*: kernels that run on the device.
- *of the bound*: the network's matrix products (counted by `torch.utils.flop_counter`, convolutions included, Fourier
  transforms not) at the rate of one large matrix product of the same precision, measured in the same run: their time as
  a share of the time of the call.
- *difference*: largest difference from the eager call, relative to its peak.

"tf32" is float32 with matrix products in TensorFloat-32, which PyTorch allows for convolutions by default.
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
    """Settings of the benchmark.

    Args:
        device: device to run on.
        seconds: length of each clip.
        batches: batch sizes.
        steps: sampler steps.
        rounds: number of measurements; the median is reported.
    """

    device: torch.device
    seconds: float
    batches: Sequence[int]
    steps: int
    rounds: int


@dataclass(frozen=True)
class Row:
    """Result of one mode, batch size and precision; counts are None on a CPU."""

    precision: str
    batch: int
    mode: str
    real_time_factor: float
    launches: int | None
    kernels: int | None
    of_the_bound: float
    difference: float


def build(device: torch.device) -> Denoiser:
    """The default vocoder network with random weights, so that its output is not zero."""
    torch.manual_seed(0)
    network = Network(StftFrontend(), BANDS, HOP, channels=[384, 384], blocks=[3, 3])
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.01)
    return Denoiser(network, Cosine(), V()).to(device).eval().requires_grad_(False)


def precise(name: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """Set the precision of matrix products; returns the context for the network."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    return partial(torch.autocast, device.type, torch.bfloat16) if name == "bfloat16" else nullcontext


def product_rate(name: str, device: torch.device) -> float:
    """FLOP/s of one large matrix product."""
    side = SIDE[device.type]
    dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = [seconds_of(lambda: a @ b, device) for _ in range(12)]
    return 2 * side**3 / statistics.median(seconds[2:])


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of a call, until the device is done."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def modes(
    denoiser: Denoiser, context: Callable[[], AbstractContextManager], setting: Setting, batch: int
) -> dict[str, Callable[[], Tensor]]:
    """Sampling calls by mode, functions without arguments that return (batch, 1, samples)."""
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

    calls = {"eager": partial(launched, denoiser), "compiled": partial(launched, compiled)}
    if setting.device.type == "cuda":
        record = CudaRecorder(setting.device)
        for mode, network in (("CUDA graph", denoiser), ("compiled, CUDA graph", compiled)):
            call = RecordedSampling(network, context, record)
            calls[mode] = partial(call, SAMPLER, sampler, x1, padded, torch.randn_like)
    return calls


def launches(work: Callable[[], object], device: torch.device) -> tuple[int | None, int | None]:
    """Launches by the host and kernels on the device in one call."""
    if device.type != "cuda":
        return None, None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        synchronize(device)
    events = profiler.events()
    kernels = [e for e in events if e.device_type == DeviceType.CUDA and not e.name.startswith(("Memcpy", "Memset"))]
    return sum(e.name.startswith(LAUNCHES) for e in events), len(kernels)


@torch.inference_mode()
def measure(setting: Setting) -> tuple[list[Row], dict[str, float]]:
    """All rows, and the FLOP/s of the large matrix product in each precision."""
    denoiser, device = build(setting.device), setting.device
    rows, rates = [], {}
    for precision in PRECISIONS[device.type]:
        # Compilations of other precisions count towards PyTorch's recompilation limit.
        torch._dynamo.reset()
        context = precise(precision, device)
        rates[precision] = product_rate(precision, device)
        for batch in setting.batches:
            calls = modes(denoiser, context, setting, batch)
            with FlopCounterMode(display=False) as counter:
                calls["eager"]()
            bound = counter.get_total_flops() / rates[precision]
            rows += compare(calls, setting, precision, batch, bound)
    return rows, rates


def compare(
    calls: dict[str, Callable[[], Tensor]], setting: Setting, precision: str, batch: int, bound: float
) -> list[Row]:
    """One row for each mode; `bound` is the time of the matrix products alone, in seconds."""
    outputs = {mode: call() for mode, call in calls.items()}
    times = {mode: [] for mode in calls}
    for _ in range(setting.rounds):
        for mode, call in calls.items():
            times[mode].append(seconds_of(call, setting.device))
    eager = outputs["eager"]
    audio = batch * eager.shape[-1] / SAMPLE_RATE
    rows = []
    for mode, call in calls.items():
        seconds = statistics.median(times[mode])
        difference = (outputs[mode][..., : eager.shape[-1]] - eager).abs().max() / eager.abs().max()
        counts = launches(call, setting.device)
        rows.append(Row(precision, batch, mode, seconds / audio, *counts, bound / seconds, float(difference)))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown table; speedups are relative to eager with the same precision and batch size."""
    lines = [
        "| precision | batch | mode | real-time factor | vs eager | launches | kernels | of the bound | difference |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    eager = {(row.precision, row.batch): row.real_time_factor for row in rows if row.mode == "eager"}
    for row in rows:
        speedup = eager[row.precision, row.batch] / row.real_time_factor
        counts = ("–" if count is None else str(count) for count in (row.launches, row.kernels))
        lines.append(
            f"| {row.precision} | {row.batch} | {row.mode} | {row.real_time_factor:.5f} | {speedup:.2f}x | "
            f"{' | '.join(counts)} | {100 * row.of_the_bound:.0f}% | {row.difference:.0e} |"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    parser.add_argument("--device", default="cuda", help=f"device: cuda, cuda:1, cpu {default}")
    parser.add_argument("--seconds", type=float, default=4.0, help=f"length of a clip in seconds {default}")
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 16), help=f"batch sizes {default}")
    parser.add_argument("--steps", type=int, default=6, help=f"sampler steps {default}")
    parser.add_argument(
        "--rounds", type=int, default=21, help=f"measurements per mode; the median is reported {default}"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"output folder {default}")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    args = arguments()
    device = torch.device(args.device)
    setting = Setting(device, args.seconds, args.batches, args.steps, args.rounds)
    rows, rates = measure(setting)
    versions = environment.describe(device) | {"cuda": torch.version.cuda}
    facts = " · ".join(f"{key} {value}" for key, value in versions.items() if value is not None)
    bound = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in rates.items())
    method = (
        f"{setting.steps} steps of {SAMPLER}, clips of {setting.seconds:g} s, median of {setting.rounds} rounds. "
        f"Measured rate of a large matrix product, in TFLOP/s: {bound}."
    )
    text = table(rows)
    print(f"{method}\n\n{text}")
    stem = args.out / ("gpu" if device.type == "cuda" else f"gpu_{device.type}")
    title = f"# Speed of sampling on {versions['device']}"
    write_text(stem.with_suffix(".md"), f"{title}\n\n{facts}\n\n{method}\n\n{text}\n")
    record = {"environment": versions, "rates": rates, "rows": [asdict(row) for row in rows]}
    write_text(stem.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    print(f"written: {stem}.md, .json")


if __name__ == "__main__":
    main()
