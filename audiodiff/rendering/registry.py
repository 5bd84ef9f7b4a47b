"""Renderers by model type: from paths on a command line to files."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar, cast

from audiodiff.audio.mel import MelSpec
from audiodiff.errors import UserError
from audiodiff.models.checkpoint import locate, type_of
from audiodiff.models.onnx_export import is_export
from audiodiff.options import options_of
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import (
    GenerationConfig,
    SamplingOptions,
    SpeechOptions,
    SynthesisOptions,
    UpsamplingOptions,
)
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.pipelines.restorer import Restorer
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.remote import location
from audiodiff.rendering import generation, renderer
from audiodiff.rendering.executors import EXECUTORS
from audiodiff.rendering.generation import ClipRenderer, name_prompts
from audiodiff.rendering.inputs import RenderInput, find_inputs
from audiodiff.rendering.lines import TextLine, name_takes, read_lines
from audiodiff.rendering.monitor import LOG, Outcome
from audiodiff.rendering.names import name_rows
from audiodiff.rendering.options import ExecutionOptions, FileOptions, RenderOptions, WriteOptions
from audiodiff.rendering.prompts import PromptRow, check_count, read_prompts
from audiodiff.rendering.render import MelRenderer
from audiodiff.rendering.renderer import Renderer, render_all
from audiodiff.rendering.restoration import RestorationRenderer
from audiodiff.rendering.settings import SavedSettings
from audiodiff.rendering.speech import SpeechRenderer
from audiodiff.rendering.upsampling import UpsamplingRenderer

OptionsT = TypeVar("OptionsT", bound=SamplingOptions)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to render.

    Attributes:
        inputs: recordings, mels, folders, manifests and tables for vocoders; texts, tables and manifests for voices and
            audio generators.
        out: output folder.
        options: of the model, or `RenderOptions`.
        files: how files are written.
        command: that does it, one of `COMMANDS`.
        execution: where they are rendered.
        count: clips of each row.
        mel_spec: name of the spec of saved mels that carry none.
        convert_mel: whether to convert saved mels of other filters or another transform.
        vocoder: of a voice, in place of its own.
        lexicon: CSV file of pronunciations for a voice.
        saved: settings whose clip is to be made again; the options are those, already.
        to: sample rate that an upsampler must have.
        device, precision, compile: as of the pipelines.
    """

    inputs: Sequence[Path | str]
    out: Path | str
    options: SamplingOptions
    files: WriteOptions
    command: str = renderer.COMMAND
    execution: ExecutionOptions = ExecutionOptions()  # noqa: RUF009, frozen
    count: int | None = None
    mel_spec: str | None = None
    convert_mel: bool = False
    vocoder: Path | None = None
    lexicon: Path | None = None
    saved: SavedSettings | None = None
    to: int | None = None
    device: str = "auto"
    precision: str = "float32"
    compile: bool = False

    @property
    def folder(self) -> Path:
        """The output folder."""
        return location(self.out)

    @property
    def sources(self) -> list[Path]:
        """The inputs.

        Raises:
            UserError: there are none.
        """
        inputs = self.inputs or (self.saved.inputs if self.saved else [])
        if not inputs:
            raise UserError("inputs", "none given", "name files or folders to render")
        return [location(name) for name in inputs]

    def options_of(self, config: type[OptionsT], model: str) -> OptionsT:
        """The options of one type of model; raises as `RenderOptions.of`."""
        if isinstance(self.options, RenderOptions):
            return self.options.of(config, model)
        assert isinstance(self.options, config)  # the command's own
        return self.options

    @property
    def file_options(self) -> FileOptions:
        """How files are written by a model that works in batches."""
        return self.files if isinstance(self.files, FileOptions) else FileOptions.one_by_one(self.files)

    def refuse(self, model: str, *names: str) -> None:
        """Raise a UserError if one of these is set, which a model of this type has no use for."""
        for name in names:
            if getattr(self, name):
                raise UserError(f"{name} {getattr(self, name)}", f"{model} has no such option", "leave it out")


class Command(NamedTuple):
    """A command that renders.

    Attributes:
        type: of its models; None: any that `audiodiff render` has a use for.
        title: of its progress bar.
    """

    type: str | None
    title: str


# By what sidecars call it.
COMMANDS = {
    renderer.COMMAND: Command(None, "rendering"),
    generation.COMMAND: Command("audio", "generating"),
    UpsamplingRenderer.COMMAND: Command("upsampler", "upsampling"),
    RestorationRenderer.COMMAND: Command("restorer", "restoring"),
}


class RendererType(NamedTuple):
    """How models of a type render.

    Attributes:
        rows: those of the inputs of a request, which is checked; takes a function that reports what is none.
        load: the renderer of a model folder.
        verb: the one that such models have in place of `audiodiff render`; empty: that one.
    """

    rows: Callable[[Request, Callable[[UserError], None]], Sequence[Any]]
    load: Callable[[Path, Request], Renderer]
    verb: str = ""


def render_request(model: Path, request: Request, report: Callable[[UserError], None], quiet: bool = False) -> Outcome:
    """Render all that is requested.

    Args:
        model: folder or name.
        request: what to render, and where.
        report: called with the error of each input that cannot be rendered; the others are.
        quiet: no progress bar.

    Raises:
        UserError: the model renders nothing, an option is not one of it, or as `renderer.render_all`.
    """
    load = _Load(model, request)
    loaded = load()
    if request.saved is not None:
        request.saved.compare(loaded.pipeline)
    rows = load.type.rows(request, report)
    executor = EXECUTORS[request.execution.executor](request.execution, load)
    return render_all(loaded, rows, report, executor, COMMANDS[request.command].title, LOG, quiet)


@dataclass(frozen=True)
class _Load:
    """Loads the renderer of a request, in whichever process."""

    model: Path
    request: Request

    @property
    def type(self) -> RendererType:
        if (own := COMMANDS[self.request.command].type) is not None:
            return cast(RendererType, RENDERERS[own])  # which says what is wrong with a model of another type
        kind = type_of(locate(self.model))
        found = RENDERERS.get(kind, RENDERERS["vocoder"])  # which says what is wrong with a folder of an unknown type
        if found is None or found.verb:
            problem = f"is a model of type {kind}, which renders nothing"
            fix = "choose a vocoder, a voice or an audio generator"
            raise UserError(self.model, problem, f"use `{found.verb}`" if found else fix)
        return found

    def __call__(self) -> Renderer:
        return self.type.load(self.model, self.request)


def _input_rows(
    request: Request, report: Callable[[UserError], None], options: type[SamplingOptions]
) -> Sequence[RenderInput]:
    """Recordings and mels, and takes of each."""
    count = check_count(request.count)
    rows, saved = find_inputs(request.sources, request.folder, report, options), request.saved
    if saved is not None and len(rows) == 1:
        rows = [replace(rows[0], clip_seed=saved.clip_seed, batch=saved.batch if saved.clip_seed is not None else None)]
    return name_rows(
        [take for row in rows for take in row.takes(count)],
        request.files.name,
        lambda row: {"name": row.name, "clip": row.take, **row.options},
        lambda row, name: replace(row, name=PurePosixPath(name)),
        lambda row: str(row.path),
    )


def _mel_renderer(model: Path, request: Request) -> MelRenderer:
    request.refuse("a vocoder", "vocoder", "lexicon")
    options = request.options_of(SynthesisOptions, "a vocoder")
    spec = None if request.mel_spec is None else MelSpec.preset(request.mel_spec)
    vocoder = Vocoder.from_pretrained(
        model, request.device, request.precision, _backend(model), compile=request.compile
    )
    return MelRenderer(vocoder, request.folder, options, request.file_options, spec, request.convert_mel)


def _text_rows(request: Request, _: Callable[[UserError], None]) -> Sequence[TextLine]:
    saved, count = request.saved, check_count(request.count)
    if request.inputs or saved is None or saved.text is None:
        rows = read_lines(request.sources, count)
    else:  # its seed is that of the text itself
        rows = name_takes([TextLine(saved.text, "0001", {"seed": request.options.seed}, str(saved.path))], count)
    return name_rows(
        rows,
        request.files.name,
        lambda row: {"name": row.file, "clip": row.take, **_given(request.options, SpeechOptions), **row.options},
        lambda row, name: replace(row, file_name=name),
        lambda row: f"{row.place} (take {row.take})" if row.take else row.place,
    )


def _speech_renderer(model: Path, request: Request) -> SpeechRenderer:
    request.refuse("a voice", "mel_spec", "convert_mel", "compile")
    options = request.options_of(SpeechOptions, "a voice")
    synthesizer = SpeechSynthesizer.from_pretrained(
        model, request.device, request.precision, _backend(model), vocoder=request.vocoder, lexicon=request.lexicon
    )
    if request.saved is not None:
        synthesizer = request.saved.with_lexicon(synthesizer)
    digest = None if request.lexicon is None else hashlib.sha256(request.lexicon.read_bytes()).hexdigest()
    return SpeechRenderer(synthesizer, request.folder, options, request.file_options, digest)


def _prompt_rows(request: Request, _: Callable[[UserError], None]) -> Sequence[PromptRow]:
    rows, saved = read_prompts(map(location, request.inputs), check_count(request.count)), request.saved
    if not request.inputs and saved is not None and saved.clip_seed is not None:
        rows = [replace(rows[0], clip_seed=saved.clip_seed, batch=saved.batch)]
    return name_prompts(rows, request.files.name)


def _clip_renderer(model: Path, request: Request) -> ClipRenderer:
    request.refuse("an audio generator", "vocoder", "lexicon", "mel_spec", "convert_mel", "compile")
    config = request.options_of(GenerationConfig, "an audio generator")
    generator = AudioGenerator.from_pretrained(model, request.device, request.precision)
    return ClipRenderer(generator, request.folder, config, request.file_options, request.command)


def _upsampling_renderer(model: Path, request: Request) -> UpsamplingRenderer:
    options = request.options_of(UpsamplingOptions, "an upsampler")
    upsampler = Upsampler.from_pretrained(model, request.device, request.precision, _backend(model))
    if request.to not in (None, upsampler.sample_rate):
        problem = f"this model upsamples to {upsampler.sample_rate} Hz"
        raise UserError(f"--to {request.to}", problem, f"use --to {upsampler.sample_rate}, or another --model")
    return UpsamplingRenderer(upsampler, request.folder, options, request.files)


def _restoration_renderer(model: Path, request: Request) -> RestorationRenderer:
    options = request.options_of(RestorationOptions, "a restorer")
    restorer = Restorer.from_pretrained(model, request.device, request.precision, _backend(model))
    return RestorationRenderer(restorer, request.folder, options, request.files)


def _given(options: SamplingOptions, config: type) -> dict[str, Any]:
    """The options of all rows, for names."""
    return {name: getattr(options, name) for name in options_of(config)}


def _backend(model: Path) -> str:
    return "onnx" if is_export(model) else "torch"


# None: there is nothing to render.
RENDERERS: dict[str, RendererType | None] = {
    "vocoder": RendererType(partial(_input_rows, options=SynthesisOptions), _mel_renderer),
    "audio": RendererType(_prompt_rows, _clip_renderer),
    "codec": None,
    "acoustic": RendererType(_text_rows, _speech_renderer),
    "aligner": None,
    "audio_text": None,
    "noisy_classifier": None,
    "hypernetwork": None,
    "upsampler": RendererType(
        partial(_input_rows, options=UpsamplingOptions), _upsampling_renderer, UpsamplingRenderer.COMMAND
    ),
    "restorer": RendererType(
        partial(_input_rows, options=RestorationOptions), _restoration_renderer, RestorationRenderer.COMMAND
    ),
}
