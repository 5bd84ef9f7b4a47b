"""Unconditional music after equal training time: our waveform recipe and `audio-diffusion-pytorch`.

`python bench/music.py --data data/music --minutes 12` trains both on the same crops, in the same order, for the same
processor time on one thread (so other load does not matter), generates clips with the same seeds, computes the metrics
of `audiodiff evaluate`, and writes `bench/results/music.md`.

Ours is `+recipe=music_uncond`. The other is the U-Net, v-diffusion and sampler of the package (Schneider et al. 2023,
arXiv 2301.11757) as its README composes them, with widths reduced to our number of parameters; its optimizer
is the paper's, AdamW at 1e-4 with betas (0.95, 0.999). Both have crops at unit power and averaged weights.
"""

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from audiodiff import config
from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.io import Audio
from audiodiff.audio.loudness import normalize_peak
from audiodiff.data.manifest import Manifest
from audiodiff.evaluation import environment, generation_evaluation
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.training.module import TrainingModule
from audiodiff.training.tasks.denoising import DenoisingTask

RESULTS = Path(__file__).parent / "results" / "music.md"
PEER = "audio-diffusion-pytorch"
TEXT = """# Unconditional music after equal training time

`python bench/music.py --data {options.data} --minutes {options.minutes:g} --clips {options.clips}`

{facts}

{options.minutes:g} minutes of processor time on one thread for each; {options.clips} clips with {options.steps} steps
against {report.held_out_clips} held-out segments, over subsets of {report.subset} in {report.dimensions} dimensions of
{embedding}: median and middle 95 %.

{doc}

| | steps | parameters | Frechet distance ↓ | kernel distance ↓ | variety | crest, dB |
|---|--:|--:|--:|--:|--:|--:|
{rows}
"""


def trained(
    model: nn.Module, loss: Callable[[dict, int], Tensor], crops, batch_size: int, minutes: float, optimizer, rate
) -> tuple[nn.Module, int]:
    """Train for a given processor time; returns the averaged model and the number of training steps.

    Args:
        model: the model to train.
        loss: function of a batch and the step.
        crops: the dataset.
        batch_size: clips per step.
        minutes: processor time of this process.
        optimizer: optimizer of the model's parameters.
        rate: function of step and progress; factor of the learning rate.
    """
    full = optimizer.param_groups[0]["lr"]
    average, started, step = copy.deepcopy(model), time.process_time(), 0
    while (progress := (time.process_time() - started) / (60 * minutes)) < 1:
        items = [crops[step * batch_size + k] for k in range(batch_size)]
        waveforms = torch.stack([item["waveform"] for item in items])
        for group in optimizer.param_groups:
            group["lr"] = full * rate(step, progress)
        optimizer.zero_grad()
        value = loss({"waveform": waveforms, "clip": [item["clip"] for item in items]}, step)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        step += 1
        if step % 100 == 0:
            print(f"  step {step}, {100 * progress:.0f} %, loss {float(value):.3f}", flush=True)
    return average, step


def ours(cfg, data, minutes: float) -> tuple[AudioGenerator, int]:
    """Train our recipe."""
    torch.manual_seed(0)
    model = instantiate(cfg.model)
    module = TrainingModule(model, DenoisingTask(gain=(0.8, 1.2)), None, None)
    crops = data.crops
    some = (module.task.normalize(crops[draw]["waveform"][None])[0] for draw in range(64))
    model.spectrum = AverageSpectrum.from_signals(some, model.sample_rate)
    optimizer = instantiate(cfg.optimizer)(model.parameters())
    rate = instantiate(cfg.lr_schedule).factor

    def loss(batch: dict, step: int) -> Tensor:
        return module.compute_loss(batch, f"draw {step}")["loss"]

    average, steps = trained(model, loss, crops, cfg.data.batch_size, minutes, optimizer, rate)
    return AudioGenerator(average), steps


class Peer:
    """A model of audio-diffusion-pytorch with the interface of a generator."""

    def __init__(self, model: nn.Module, samples: int, channels: int, sample_rate: int):
        self.net, self.sample_rate, self.device = model.eval(), sample_rate, torch.device("cpu")
        self.model = SimpleNamespace(labels=(), samples=samples, channels=channels, default_steps=50, codec=None)
        self.model_hash, self.training = "0" * 64, {}

    @torch.no_grad()
    def generate(self, clip_seeds, steps: int, sampler=None) -> Audio:
        """Generate one clip per seed."""
        shape = (self.model.channels, self.model.samples)
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in clip_seeds])
        return Audio(normalize_peak(self.net.sample(noise, num_steps=steps), 0.9), self.sample_rate)


def peer(cfg, data, minutes: float) -> tuple[Peer, int]:
    """Train the model of audio-diffusion-pytorch."""
    from audio_diffusion_pytorch import DiffusionModel, UNetV0, VDiffusion, VSampler

    torch.manual_seed(0)
    model = DiffusionModel(
        net_t=UNetV0,
        in_channels=cfg.data.channels,
        channels=[8, 24, 48, 64, 96, 112, 112],
        factors=[1, 4, 4, 4, 2, 2, 2],
        items=[1, 2, 2, 2, 2, 2, 2],
        attentions=[0, 0, 0, 0, 0, 1, 1],
        attention_heads=8,
        attention_features=32,
        diffusion_t=VDiffusion,
        sampler_t=VSampler,
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, betas=(0.95, 0.999), eps=1e-6, weight_decay=1e-3)
    normalize = DenoisingTask().normalize

    def loss(batch: dict, step: int) -> Tensor:
        return model(normalize(batch["waveform"]))

    average, steps = trained(
        model, loss, data.crops, cfg.data.batch_size, minutes, optimizer, lambda step, _: min(1.0, (step + 1) / 100)
    )
    return Peer(average, cfg.data.crop_samples, cfg.data.channels, cfg.data.sample_rate), steps


def main() -> None:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="data/music")
    parser.add_argument(
        "--minutes", type=float, default=12.0, help="processor time of each training (default: %(default)s)"
    )
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--steps", type=int, default=50, help="sampler steps (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("overrides", nargs="*", help="overrides of our recipe; crops and batch size apply to both")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cfg = config.compose(["+recipe=music_uncond", f'data.path="{options.data}"', "data.workers=0", *options.overrides])
    data = instantiate(cfg.data)
    data.setup("fit")
    manifest = Manifest.load(options.data)
    rows, settings = [], Settings(limit=options.clips, steps=options.steps)
    for name, make in (("ours", ours), (PEER, peer)):
        print(name, flush=True)
        generator, steps = make(cfg, data, options.minutes)
        untrained = AudioGenerator(fresh(cfg, generator)) if name == "ours" else None
        report, _ = generation_evaluation.evaluate(generator, untrained, manifest, settings)
        network = generator.model.network if name == "ours" else generator.net
        parameters = f"{sum(parameter.numel() for parameter in network.parameters()):,}"
        rows += [(name, str(steps), parameters, report.rows[generation_evaluation.GENERATED])]
        if name == "ours":
            others = (generation_evaluation.TRAINING, generation_evaluation.UNTRAINED)
            rows += [
                (f"ours, {other}" if other != generation_evaluation.TRAINING else other, "", "", report.rows[other])
                for other in others
            ]
    text = TEXT.format(
        doc=__doc__.split("\n\n")[2].strip(),
        options=options,
        facts=format_facts(environment.describe("cpu")),
        report=report,
        embedding=generation_evaluation.timbre.NAME,
        rows="\n".join(_line(*row) for row in rows),
    )
    write_text(options.out, text)
    print(text)


def fresh(cfg, generator: AudioGenerator):
    """Our model at initialization."""
    torch.manual_seed(0)
    model = instantiate(cfg.model)
    model.spectrum = generator.model.spectrum
    return model


def _line(name: str, steps: str, parameters: str, row: generation_evaluation.Row) -> str:
    distances = (str(row.distances[kind]) for kind in generation_evaluation.DISTANCES)
    return f"| {' | '.join([name, steps, parameters, *distances, f'{row.variety:.2f}', f'{row.crest_db:.1f}'])} |"


if __name__ == "__main__":
    main()
