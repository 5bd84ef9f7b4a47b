"""`audiodiff fit-grid`: fit a model's time grids to its data and store them in its checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.model_folder import output_folder
from audiodiff.cli.options import Data, Device, Model


def fit_grid(
    steps: Annotated[list[int], typer.Argument(help="Denoising steps to fit a grid for, such as 4 6 10.")],
    model: Model,
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Output folder (default: the model's).")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler to fit grids for (default: the model's own).")] = None,
    clips: Annotated[int, typer.Option(help="Training clips used to measure the spectrum.", min=1)] = 50,
    check: Annotated[int, typer.Option(help="Held-out clips used to validate each grid (0 disables).", min=0)] = 4,
    device: Device = "auto",
) -> None:
    """Fit sampling time grids to the spectrum of the training data. Grids that improve few-step sampling are stored."""
    from audiodiff.data.manifest import Manifest
    from audiodiff.diffusion.samplers import presets
    from audiodiff.errors import UserError
    from audiodiff.evaluation import grid_fitting
    from audiodiff.models import checkpoint
    from audiodiff.models.audio_model import AudioModel
    from audiodiff.models.vocoder_model import VocoderModel
    from audiodiff.pipelines.audio_generator import AudioGenerator
    from audiodiff.pipelines.vocoder import Vocoder

    folder = checkpoint.locate(model)
    target = output_folder(model, out)
    kinds = {VocoderModel.TYPE: (Vocoder, _of_vocoder), AudioModel.TYPE: (AudioGenerator, _of_generator)}
    kind = checkpoint.type_of(folder)
    if kind not in kinds:
        raise UserError(model, f"is a {kind}, which has no time grid", f"give a model of type {' or '.join(kinds)}")
    load, measure = kinds[kind]
    pipeline = load.from_pretrained(folder, device)
    for count in steps:
        presets.build(sampler or pipeline.model.sampler, count)
    spectrum, synthesize = measure(pipeline, Manifest.load(data), clips, check)
    fits = []
    for fit in grid_fitting.fit_grids(pipeline, spectrum, dict.fromkeys(steps), sampler, synthesize):
        fits.append(fit)
        print(f"{fit.grid.sampler}, {fit.grid.steps} steps: {summary(fit)}", flush=True)
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    grid_fitting.store(pipeline.model, fits).save_pretrained(target, pipeline.training, text)
    print(target)


def _of_vocoder(vocoder, manifest, clips: int, check: int):
    """The spectrum of a vocoder's training data, and the synthesis of held-out recordings that validates its grids."""
    from audiodiff.evaluation import grid_fitting, modes

    rate = vocoder.sample_rate
    held_out = modes.load_recordings(manifest, ("validation", "test"), check, rate) if check else []
    spectrum = modes.measure_spectrum(vocoder, modes.load_recordings(manifest, ("train",), clips, rate))
    return spectrum, grid_fitting.sample_recordings(vocoder, held_out) if check else None


def _of_generator(generator, manifest, clips: int, check: int):
    """The spectrum of a generator's training data, and the generation of clips that validates its grids."""
    from audiodiff.evaluation import grid_fitting, modes

    spectrum = modes.measure_spectrum(generator, modes.load_crops(manifest, clips, generator))
    return spectrum, grid_fitting.sample_seeds(check) if check else None


def summary(fit) -> str:
    """One line about a `grid_fitting.Fit`."""
    before, after = fit.errors
    text = f"error on the spectrum {before:.3g} with the sampler's default grid, {after:.3g} with the fitted one; "
    if fit.distances:
        before, after = fit.distances
        text += f"distance to many steps {before:.4f} and {after:.4f}; "
    return text + ("stored" if fit.better else "not stored")
