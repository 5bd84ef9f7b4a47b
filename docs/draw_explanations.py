"""Draw the pictures of the pages that explain.

`python docs/draw_explanations.py [FOLDER]` writes them to `docs/images/`.

They are drawn with the shipped models and the exact denoisers of the package, so they show what the package does.
"""

import sys
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import audiodiff
from audiodiff import diffusion
from audiodiff.diffusion import Autoguidance, Cosine, GaussianOracle, MixtureOracle
from audiodiff.diffusion.samplers import presets
from audiodiff.evaluation.figures import decibels

IMAGES = Path(__file__).parent / "images"
TIMES = (0.0, 0.25, 0.5, 0.75, 0.97)
SCHEDULES = ("Cosine", "LinearBeta", "Sigmoid", "RectifiedFlow")
SCALES = (1.0, 2.0, 4.0)


def process() -> Figure:
    """A kick at several noise levels, and the estimates of `drums` from each."""
    generator = audiodiff.load("drums")
    model, rate = generator.model, generator.sample_rate
    clip = generator.generate(labels=["kick"], count=1, seconds=0.5, seed=3).samples[0]
    signal = model.normalize(clip[None])
    level = signal.square().mean().sqrt()
    condition = model.embed_condition(model.parse_conditions({"labels": ["kick"]}, 1))
    noise = torch.randn(signal.shape, generator=torch.Generator().manual_seed(0))
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(2, len(TIMES), sharex=True, sharey=True)
    for column, t in zip(axes.T, TIMES, strict=True):
        alpha, sigma = model.schedule.alpha(t), model.schedule.sigma(t)
        noisy = alpha * signal / level + sigma * noise
        estimate = signal / level if t == 0 else model.denoiser(noisy, t, condition)
        for ax, z in zip(column, (noisy, estimate), strict=True):
            _spectrogram(ax, model.restore(level * z)[0, 0], rate)
        column[0].set_title(f"t = {t:g}", fontsize=10)
    axes[0, 0].set_ylabel("x_t, kHz", fontsize=9)
    axes[1, 0].set_ylabel("estimate of x0, kHz", fontsize=9)
    return figure


def schedules() -> Figure:
    """Log-SNR over time."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    ax, t = figure.subplots(), torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    for name in SCHEDULES:
        schedule = getattr(diffusion, name)()
        ax.plot(t, [float(schedule.log_snr(float(one))) for one in t], label=name)
    ax.set_xlabel("t")
    ax.set_ylabel("log-SNR")
    ax.legend(frameon=False)
    return figure


def guidance() -> Figure:
    """Samples of one of two overlapping classes at several scales."""
    schedule, means = Cosine(), torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    covariances = torch.stack([torch.diag(torch.tensor([1.0, 0.6])), torch.diag(torch.tensor([0.6, 1.0]))])
    both = MixtureOracle(torch.tensor([0.5, 0.5]), means, covariances, schedule)
    one = GaussianOracle(means[0], covariances[0], schedule)
    x1 = torch.randn(1500, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = both.components[1].sample(1500, torch.Generator().manual_seed(1))
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for ax, scale in zip(figure.subplots(1, len(SCALES), sharex=True, sharey=True), SCALES, strict=True):
        x0 = presets.build("recommended", 40)(Autoguidance(one, both, scale), x1)[:, 0]
        ax.scatter(*other.T, s=3, color="#bbbbbb", label="class B")
        ax.scatter(*x0.T, s=3, color="#0969da", label="sampled, class A")
        ax.set_title(f"scale {scale:g}: spread {float(x0.std(0).mean()):.2f}", fontsize=10)
        ax.set_aspect("equal")
    ax.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def latents() -> Figure:
    """A sound, its latents, and the decoded sound."""
    generator = audiodiff.load("sounds")
    codec, rate = generator.model.codec, generator.sample_rate
    clip = generator.generate(prompt="a short bright melody of a bell", count=1, seconds=1.5, seed=2).samples
    with torch.inference_mode():
        code = codec.encode(clip)
        decoded = codec.decode(code, clip.shape[-1])
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    axes = figure.subplots(1, 3)
    _spectrogram(axes[0], clip[0, 0], rate)
    axes[1].imshow(
        code[0], aspect="auto", origin="lower", cmap="RdBu", vmin=-3, vmax=3, extent=(0, 1.5, 0, code.shape[1])
    )
    _spectrogram(axes[2], decoded[0, 0], rate)
    numbers = clip.shape[-1], code[0].numel()
    titles = f"{numbers[0]} samples", f"{code.shape[1]} x {code.shape[2]} latents", "decoded"
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=10)
    return figure


def vocoder() -> Figure:
    """A mel, noise colored by it, one step without and with consistency, and the recording."""
    speech = audiodiff.load("voice-en").say("The file is ready.", seed=1).audio
    pipeline = audiodiff.load("speech-24k")
    rate, mel = pipeline.sample_rate, pipeline.mel(speech)
    whispered = pipeline.model.prior.color(torch.randn(1, mel.shape[-1] * pipeline.spec.hop_length), mel[None])[0]
    made = pipeline.generate(mel, steps=1, consistency=16, seed=0).samples
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    axes = figure.subplots(1, 4)
    axes[0].imshow(
        mel, aspect="auto", origin="lower", cmap="magma", extent=(0, speech.samples.shape[-1] / rate, 0, len(mel))
    )
    signals = {"noise, colored by the mel": whispered, "one step": made, "the recording": speech.samples}
    for ax, (title, signal) in zip(axes[1:], signals.items(), strict=True):
        _spectrogram(ax, signal.reshape(-1), rate)
        ax.set_title(title, fontsize=10)
    axes[0].set_title(f"mel, {len(mel)} bands", fontsize=10)
    return figure


def _spectrogram(ax: Axes, signal: Tensor, rate: int) -> None:
    found = decibels(signal.detach().float().numpy(), rate)
    extent = (0, len(signal) / rate, 0, rate / 2000)
    ax.imshow(
        found, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=found.max() - 80, vmax=found.max()
    )
    ax.tick_params(labelsize=8)


PICTURES = (process, schedules, guidance, latents, vocoder)


def main(folder: Path = IMAGES) -> None:
    """Draw all pictures into a folder."""
    torch.manual_seed(0)
    with torch.inference_mode():
        for draw in PICTURES:
            draw().savefig(folder / f"{draw.__name__}.png", dpi=100)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
