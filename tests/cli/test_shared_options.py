"""The command line, the Python API, sidecars and the demo offer the same options: those that are declared."""

import dataclasses
import inspect
import json
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from audiodiff.audio.io import FORMATS
from audiodiff.cli.edit import edit
from audiodiff.cli.generate import generate
from audiodiff.cli.options import command_options, expand_options, option_help
from audiodiff.cli.render import render
from audiodiff.conditioners.registry import OPTIONS as CONDITIONS
from audiodiff.errors import UserError
from audiodiff.options import Option, option, options_of
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.edit_options import EditConfig
from audiodiff.pipelines.guidance_options import GuideModels
from audiodiff.pipelines.options import GenerationConfig, SynthesisOptions
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.rendering import generation, sidecar
from audiodiff.rendering.options import FileOptions


def parameters(function) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_generate_offers_what_the_api_takes(make_music):
    declared = set(options_of(GenerationConfig)) | set(CONDITIONS)
    assert declared | set(options_of(FileOptions)) <= parameters(generate)
    assert set(command_options(GenerationConfig)) == declared == set(GenerationConfig().record())
    assert {field.name for field in dataclasses.fields(GenerationConfig)} - {"conditions"} <= declared


def test_edit_offers_what_the_api_takes():
    declared = set(options_of(EditConfig)) | set(CONDITIONS) | {f"from_{name}" for name in CONDITIONS}
    assert declared <= parameters(edit)
    assert set(command_options(EditConfig)) == declared == set(EditConfig(noise_level=0.5).record())
    flags = [option.flag_for(name) for name, option in command_options(EditConfig).items()]
    assert len(flags) == len(set(flags)) and "--from-label" in flags


def test_render_offers_what_the_api_takes():
    declared = {field.name for field in dataclasses.fields(SynthesisOptions)}
    assert declared | set(options_of(FileOptions)) <= parameters(render)
    assert declared == set(options_of(SynthesisOptions)) <= parameters(Vocoder.generate)


def test_sidecars_record_every_option(make_music, tmp_path):
    generation.generate(AudioGenerator(make_music()), tmp_path, GenerationConfig(steps=2), quiet=True)
    entries = json.loads(sidecar.sidecar_path(tmp_path / "0000.wav").read_text())
    assert set(command_options(GenerationConfig)) <= set(entries)


def test_the_demo_has_a_control_for_every_option(make_prompted, make_classifier, tmp_path):
    pytest.importorskip("gradio")
    from audiodiff.demo.catalog import Catalog
    from audiodiff.demo.generation import GenerationTask
    from audiodiff.demo.resynthesis import INPUTS, ResynthesisTask
    from audiodiff.demo.tasks import KINDS

    model = make_prompted(scalars=("tempo",))
    model.save_pretrained(tmp_path)
    guide = make_classifier(labels=("kick", "snare"))
    guide.save_pretrained(tmp_path / "classifier")
    guides = GuideModels(classifier=tmp_path / "classifier", autoguidance=tmp_path)
    catalog, generation = Catalog.find(KINDS, tmp_path, guides=guides), GenerationTask()
    offer, vocoder = catalog.offers[0], ResynthesisTask().options(catalog["speech-24k"])
    folders = {"adapters"}  # of this machine, which visitors do not name
    options = set(generation.options(offer))
    assert options == (set(options_of(GenerationConfig)) - folders) | set(model.condition_options())
    assert set(vocoder) - set(INPUTS) == set(options_of(SynthesisOptions)) - folders
    assert set(generation.initial(offer)) - {"conditions"} <= options


def test_formats_are_those_that_are_written():
    assert options_of(FileOptions)["format"].choices == FORMATS


def test_every_shared_option_is_explained():
    for config in (GenerationConfig, EditConfig, SynthesisOptions, FileOptions):
        for name, declared in command_options(config).items():
            assert declared.help[0].isupper() and declared.help.endswith("."), name
            assert declared.label or config is FileOptions, name


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (
            Option("integer", "Steps.", minimum=1, default_help="the model's own"),
            "(at least 1; default: the model's own).",
        ),
        (Option("number", "Length.", unit="s", above=0, maximum=9), "Length (in s; above 0, at most 9)."),
        (Option("number", "Tempo in BPM.", unit="BPM"), "Tempo in BPM."),
        (Option("number", "Level (0 disables).", minimum=0, maximum=1), "Level (0 disables; 0 to 1)."),
        (Option("choice", "Format.", choices=("a", "b")), "Format (a or b)."),
    ],
)
def test_help_says_unit_range_and_default(declared, text):
    assert option_help(declared).endswith(text)


@dataclasses.dataclass(frozen=True)
class Config:
    level: float = option(0.5, kind="number", help="Level.", flag="--noise", minimum=0, maximum=1)
    names: tuple = option(None, kind="text", help="Names.", flag="--name", multiple=True)

    def __post_init__(self):
        options_of(self)["level"].check("level", self.level)


def test_fields_become_options_of_the_verb():
    seen = []

    @expand_options
    def verb(path: Annotated[str, typer.Argument()], config: Config, count: int = 1) -> None:
        seen.append((path, config, count))

    app = typer.Typer()
    app.command()(verb)
    run = CliRunner().invoke
    assert run(app, ["a", "--noise", "0.2", "--name", "x", "--name", "y", "--count", "3"]).exit_code == 0
    assert run(app, ["b"]).exit_code == 0
    assert seen == [("a", Config(0.2, ["x", "y"]), 3), ("b", Config(0.5, None), 1)]
    error = run(app, ["a", "--noise", "2"]).exception
    assert isinstance(error, UserError) and error.subject == "--noise 2"
