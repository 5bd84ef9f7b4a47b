"""What evaluates a vocoder's network on the CPU: PyTorch, `torch.compile`, and ONNX Runtime with several weights.

`python bench/backends.py` exports the network, compiles it, checks that all agree, and writes
`bench/results/backends.md`: milliseconds of one evaluation of clips of 1, 3 and 10 s, and how many times the rate of
PyTorch with packed weights that is, which is what a pipeline runs.

- *packed*: PyTorch with convolutions' weights laid out for oneDNN (`nn.convolution.pack`), as pipelines load them;
- *plain*: without;
- *compiled*: `torch.compile` for dynamic lengths, as `compile=True` on a GPU; *frozen*: with its weights as constants,
  which are packed, compiled for each length;
- *onnx*, *onnx float16*, *onnx int8*: `audiodiff export` and ONNX Runtime; what is of lower precision are the weights.

One thread is measured in CPU time, which other work on the machine disturbs less; more threads in wall time, for which
the machine has to be idle. *error*: the largest difference from PyTorch, of the peak.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from audiodiff.cli.export import export
from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results" / "backends.md"
STORAGES = {"onnx": "float32", "onnx float16": "float16", "onnx int8": "int8"}
Evaluation = Callable[[Tensor, Tensor, Condition], Tensor]


def frozen(network: torch.nn.Module) -> Evaluation:
    """The network compiled for each length, with its weights as constants."""
    import torch._inductor.config as inductor

    compiled = torch.compile(network, dynamic=False)

    def evaluate(*arguments) -> Tensor:
        with inductor.patch(freezing=True), torch.no_grad():
            return compiled(*arguments)

    return evaluate


def backends(name: str, folder: Path, quick: bool) -> dict[str, Evaluation]:
    """All of them, by name; `quick`: without those that are compiled."""
    found: dict[str, Evaluation] = {
        "packed": Vocoder.from_pretrained(name).model.network,
        "plain": VocoderModel.from_pretrained(name).network.requires_grad_(False),
    }
    if not quick:
        found["compiled"] = torch.compile(
            VocoderModel.from_pretrained(name).network.requires_grad_(False), dynamic=True
        )
        found["frozen"] = frozen(VocoderModel.from_pretrained(name).network.requires_grad_(False).eval())
    for label, dtype in STORAGES.items():
        if not (folder / dtype).exists():
            export(name, out=folder / dtype, format="onnx", dtype=dtype, overwrite=False)
        found[label] = Vocoder.from_pretrained(folder / dtype, backend="onnx").model.network
    return found


def inputs(model: VocoderModel, seconds: float) -> tuple[Tensor, Tensor, Condition]:
    """Noise, its level and the condition of a mel of noise."""
    hop, generator = model.mel_spec.hop_length, torch.Generator().manual_seed(0)
    frames = round(seconds * model.sample_rate / hop)
    mel = torch.randn(1, model.mel_spec.n_mels, frames, generator=generator) - 5
    return torch.randn(1, 1, frames * hop, generator=generator), torch.tensor([-2.0]), model.embed_mel(mel)


def measure(found: dict[str, Evaluation], model: VocoderModel, seconds: float, threads: int, rounds: int) -> list[str]:
    """Rows of the table of one length."""
    clock = time.process_time if threads == 1 else time.perf_counter
    arguments = inputs(model, seconds)
    expected, times = found["packed"](*arguments), {name: [] for name in found}
    errors = {
        name: float((run(*arguments) - expected).abs().max() / expected.abs().max()) for name, run in found.items()
    }
    for turn in range(rounds + 2):  # two to warm up
        for name, run in found.items():
            started = clock()
            run(*arguments)
            if turn > 1:
                times[name].append(clock() - started)
    middle = {name: statistics.median(values) for name, values in times.items()}
    return [
        f"| {seconds:g} | {threads} | {name} | {1e3 * middle[name]:.2f} | {middle['packed'] / middle[name]:.2f} "
        f"| {errors[name]:.0e} |"
        for name in found
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="speech-16k-fine", help="a shipped vocoder (default: speech-16k-fine)")
    parser.add_argument(
        "--seconds", nargs="+", type=float, default=[1.0, 3.0, 10.0], help="of a clip (default: 1 3 10)"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of each library (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=15, help="of which the median is reported (default: 15)")
    parser.add_argument("--exports", type=Path, help="folder to export to, kept for the next run")
    parser.add_argument(
        "--quick", action="store_true", help="a short clip, nothing compiled or written: checks that it runs"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.seconds, chosen.threads, chosen.rounds = [0.5], [1], 1
    head = "| seconds | threads | backend | evaluation, ms | times packed | error |\n|--:|--:|---|--:|--:|--:|"
    print(head)
    lines = [head]
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode(False), torch.no_grad():
        for threads in chosen.threads:
            torch.set_num_threads(threads)
            found = backends(chosen.model, chosen.exports or Path(temporary), chosen.quick)
            model = VocoderModel.from_pretrained(chosen.model)
            for seconds in chosen.seconds:
                rows = measure(found, model, seconds, threads, chosen.rounds)
                lines += rows
                print("\n".join(rows), flush=True)
    if chosen.quick:
        return
    facts = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if key != "threads")
    how = f"{chosen.model}, median of {chosen.rounds} rounds; one thread in CPU time, more in wall time."
    text = "\n".join(lines)
    write_text(RESULTS, f"# What evaluates the network on the CPU\n\n{facts}\n\n{how}\n\n{text}\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
