"""Command lines: verbs on small models and files, with options of theirs that have any value, in this process."""

import contextlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random

import tiny_models
import torch
from fuzzing.mutation import PIECES, mutate_bytes, mutate_name, mutate_text
from typer.main import get_command

from audiodiff.audio import io as audio_io
from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.io import Audio
from audiodiff.cli import build
from audiodiff.conditioners.labels import Labels
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.audio_model import AudioModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

# What a request may rightly take long for, or processes of its own.
EXCLUDED = {"workers", "executor", "address", "help", "data"}
# Options that name what is written.
OUTPUTS = ("--out", "--srt", "--textgrid", "--json")
# Small numbers, since what is asked for is made: a million clips are no hang.
NUMBERS = ("0", "1", "2", "3", "-1", "0.5", "1e-9", "nan", "inf", "-inf", "1e999", "1_0", " 2", "0x2", "½", "2.0", "")
WORDS = (
    "ddim",
    "heun",
    "dpmpp_2m",
    "kick",
    "kick,snare",
    "ann",
    "flac",
    "ogg",
    "good",
    "in/a.wav",
    "0:0.1",
    "{name}-x",
)
TABLE = "text,name,seed,speaker\nHello there.,one,1,ann\nMore.,two,,bob\n"


def generator() -> AudioModel:
    """A small random generator with labels, of a fifth of a second."""
    torch.manual_seed(0)
    network = Network(StftFrontend(1, n_fft=64, hop_length=16), 0, 1, [16, 16], [1, 1], 3, 16)
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    labels = Labels(("kick", "snare"), 16)
    spectrum = AverageSpectrum([0.0, -10.0, -30.0], 8000)
    return AudioModel(network, Cosine(), V(), 8000, 1600, conditioners=[labels], spectrum=spectrum, sampler="ddim")


def commands(folder: Path) -> Callable[[Random, Path], None]:
    """Command lines of the verbs that make, change or describe audio and models."""
    models = {
        "vocoder": tiny_models.make_model(),
        "voice": tiny_models.make_acoustic(),
        "generator": generator(),
        "upsampler": tiny_models.random_upsampler(),
        "restorer": tiny_models.random_restorer(),
    }
    paths = {name: str(folder / name) for name in models}
    for name, model in models.items():
        model.save_pretrained(folder / name, {"steps": 1, "licenses": ["MIT"]}, f"# {name}\n")
    sound = Audio(torch.sin(torch.arange(3000) * 0.1) * 0.3, 8000)
    audio_io.write(folder / "a.wav", sound)
    recording = (folder / "a.wav").read_bytes()
    verbs = get_command(build()).commands  # type: ignore[attr-defined]
    lines = (
        ("render", "in", "--model", paths["vocoder"], "--out", "out", "--steps", "1"),
        ("render", "in/table.csv", "--model", paths["voice"], "--vocoder", paths["vocoder"], "--out", "out"),
        ("render", "--model", paths["generator"], "--count", "2", "--out", "out", "--steps", "2"),
        ("generate", "--model", paths["generator"], "--out", "out", "--steps", "2"),
        ("edit", "in/a.wav", "--model", paths["generator"], "--out", "out.wav", "--steps", "2"),
        ("say", "Hello.", "--voice", paths["voice"], "--vocoder", paths["vocoder"], "--out", "out.wav", "--steps", "2"),
        ("upsample", "in/a.wav", "--to", "16000", "--model", paths["upsampler"], "--out", "out"),
        ("restore", "in/a.wav", "--denoise", "--model", paths["restorer"], "--out", "out"),
        ("setting", "fast", "--model", paths["vocoder"], "--out", "set", "--steps", "1"),
        ("info", "in/a.wav"),
        ("info", paths["voice"]),
    )

    def case(draw: Random, here: Path) -> None:
        (here / "in").mkdir()
        (here / "in" / "a.wav").write_bytes(mutate_bytes(recording, draw) if draw.random() < 0.2 else recording)
        table = mutate_text(TABLE, draw) if draw.random() < 0.3 else TABLE
        (here / "in" / "table.csv").write_bytes(table.encode("utf-8", "replace"))
        verb, *words = draw.choice(lines)
        for _ in range(draw.choice((0, 1, 1, 2, 3))):
            words += _option(verbs[verb], draw)
        if draw.random() < 0.15 and words[at := draw.randrange(len(words))] not in OUTPUTS:
            words[at] = mutate_name(draw)
        words = within(words, here)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            _run([verb, *words])

    return case


def within(words: list[str], here: Path) -> list[str]:
    """A command line whose outputs are below a folder: a file that an option names elsewhere is rightly written there.

    What tables, templates and inputs name stays: no output may leave the output folder because of them.
    """
    found = list(words)
    for at, (flag, value) in enumerate(itertools.pairwise(words), 1):
        if flag in OUTPUTS and not _is_below(value, here):
            found[at] = "out.x"
    return found


def _is_below(name: str, here: Path) -> bool:
    try:
        return (here / name).resolve().is_relative_to(here.resolve()) and not name.startswith("~")
    except (ValueError, OSError, RuntimeError):
        return True  # no file can have this name


def _option(verb, draw: Random) -> list[str]:
    """An option of a verb with a value: one that it may have, or another."""
    options = [one for one in verb.params if one.param_type_name == "option" and one.name not in EXCLUDED]
    if not options:
        return ["--nothing"]
    option = draw.choice(options)
    flag = draw.choice([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return [flag]
    values = (draw.choice(NUMBERS), draw.choice(WORDS), draw.choice(PIECES), mutate_name(draw))
    return [flag, draw.choice(values)]


def _run(words: list[str]) -> None:
    """Run a command as the console script does; errors of usage are answers."""
    from typer.exceptions import Exit, TyperException

    try:
        build()(words, prog_name="audiodiff", standalone_mode=False)
    except (TyperException, Exit):
        return
    except SystemExit as error:
        if error.code not in (0, 1, 2) and not isinstance(error.code, str):
            raise
