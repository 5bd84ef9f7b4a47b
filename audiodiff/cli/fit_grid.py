"""`audiodiff fit-grid`: fit a model's time grids to its data and store them in its checkpoint."""

from pathlib import Path
from typing import Annotated

import typer


def fit_grid(
    calls: Annotated[list[int], typer.Argument(help="Numbers of network calls to fit a grid for, such as 4 6 10.")],
    model: Annotated[Path, typer.Option(help="Folder of the model, or the name of a shipped one.")],
    data: Annotated[Path, typer.Option(help="Manifest, or the folder that holds manifest.jsonl.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the model with its grids; the same if left out.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Name of the sampler they are for; the model's own if left out.")
    ] = None,
    clips: Annotated[int, typer.Option(help="Training clips, or crops of music, whose spectrum is taken.", min=1)] = 50,
    check: Annotated[
        int, typer.Option(help="Clips that each grid is checked with, a vocoder's are held-out ones; 0: none.", min=0)
    ] = 4,
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")] = "cpu",
) -> None:
    """Fit time grids to the spectrum of the training data; those that bring few calls nearer to many are stored."""
    from audiodiff.data.manifest import Manifest
    from audiodiff.diffusion.samplers import presets
    from audiodiff.errors import UserError
    from audiodiff.evaluation import grid_fitting as grids
    from audiodiff.models import checkpoint
    from audiodiff.models.audio_model import AudioModel
    from audiodiff.pipelines.audio_generator import AudioGenerator
    from audiodiff.pipelines.vocoder import Vocoder

    folder = checkpoint.locate(model)
    if out is None and folder != model:
        raise UserError(model, "is shipped with the package", "say with --out where the model with its grids goes")
    music = checkpoint.type_of(folder) == AudioModel.TYPE
    synthesiser = (AudioGenerator if music else Vocoder).from_pretrained(folder, device)
    for count in calls:
        presets.build(sampler or synthesiser.model.sampler, count)
    spectrum, making = (_music if music else _recordings)(synthesiser, Manifest.load(data), clips, check)
    found = []
    for fit in grids.fits(synthesiser, spectrum, dict.fromkeys(calls), sampler, making):
        found.append(fit)
        print(f"{fit.grid.sampler}, {fit.grid.steps} calls: {told(fit)}", flush=True)
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    grids.keep(synthesiser.model, found).save_pretrained(out or model, synthesiser.training, text)
    print(out or model)


def _recordings(vocoder, manifest, clips: int, check: int):
    """A vocoder's spectrum, and the recordings that it never heard to check its grids with."""
    from audiodiff.evaluation import grid_fitting as grids
    from audiodiff.evaluation import modes

    rate = vocoder.sample_rate
    held_out = modes.recordings(manifest, ("validation", "test"), check, rate) if check else []
    spectrum = modes.spectrum(vocoder, modes.recordings(manifest, ("train",), clips, rate))
    return spectrum, grids.resynthesis(vocoder, held_out) if check else None


def _music(generator, manifest, clips: int, check: int):
    """The spectrum of a model of music, whose grids are checked with what it makes of noise."""
    from audiodiff.evaluation import grid_fitting as grids
    from audiodiff.evaluation import modes

    spectrum = modes.spectrum(generator, modes.crops(manifest, clips, generator))
    return spectrum, grids.from_seeds(check) if check else None


def told(fit) -> str:
    """A `grids.Fit` in words."""
    before, after = fit.errors
    said = f"error on the spectrum {before:.3g} with the sampler's own grid, {after:.3g} with the fitted one; "
    if fit.distances:
        before, after = fit.distances
        said += f"distance to many calls {before:.4f} and {after:.4f}; "
    return said + ("stored" if fit.better else "not stored")
