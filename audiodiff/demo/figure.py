"""A mel spectrogram as a picture."""

from matplotlib.figure import Figure
from torch import Tensor

from audiodiff.audio.mel import MelSpec


def mel_figure(mel: Tensor, spec: MelSpec) -> Figure:
    """Draw a log-mel (M, F): time in seconds to the right, mel bands upwards.

    The figure belongs to no pyplot window, so that requests in several threads do not meet in one.
    """
    bands, frames = mel.shape
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    seconds = frames * spec.hop_length / spec.sample_rate
    image = axes.imshow(
        mel.detach().cpu().numpy(), origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, bands)
    )
    span = f"{bands} bands from {spec.f_min:g} to {spec.f_max:g} Hz"
    axes.set(title=f"Mel spectrogram: {span}", xlabel="seconds", ylabel="mel band")
    figure.colorbar(image, ax=axes, pad=0.01, label={"e": "ln", "10": "log10", "db": "dB"}[spec.log_base])
    return figure
