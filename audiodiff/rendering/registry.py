"""Renderers by model type: from paths on a command line to files."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from audiodiff.audio.mel import MelSpec
from audiodiff.errors import UserError
from audiodiff.models.checkpoint import locate, type_of
from audiodiff.models.onnx_export import is_export
from audiodiff.options import options_of
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig, SpeechOptions, SynthesisOptions
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.remote import location
from audiodiff.rendering.executors import EXECUTORS
from audiodiff.rendering.generation import ClipRenderer
from audiodiff.rendering.inputs import RenderInput, find_inputs
from audiodiff.rendering.lines import TextLine, read_lines
from audiodiff.rendering.monitor import LOG, Outcome
from audiodiff.rendering.names import name_rows
from audiodiff.rendering.options import ExecutionOptions, FileOptions, RenderOptions
from audiodiff.rendering.prompts import PromptRow, read_prompts
from audiodiff.rendering.render import MelRenderer
from audiodiff.rendering.renderer import Renderer, render_all
from audiodiff.rendering.speech import SpeechRenderer


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to render.

    Attributes:
        inputs: recordings, mels, folders, manifests and tables for vocoders; texts, tables and manifests for voices and
            audio generators.
        out: output folder.
        options: of the model.
        files: how files are written.
        execution: where they are rendered.
        count: clips of each row, of audio generators.
        mel_spec: name of the spec of saved mels that carry none.
        convert_mel: whether to convert saved mels of other filters or another transform.
        vocoder: of a voice, in place of its own.
        lexicon: CSV file of pronunciations for a voice.
        device, precision, compile: as of the pipelines.
    """

    inputs: Sequence[Path | str]
    out: Path | str
    options: RenderOptions
    files: FileOptions
    execution: ExecutionOptions = ExecutionOptions()  # noqa: RUF009, frozen
    count: int | None = None
    mel_spec: str | None = None
    convert_mel: bool = False
    vocoder: Path | None = None
    lexicon: Path | None = None
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
        if not self.inputs:
            raise UserError("inputs", "none given", "name files or folders to render")
        return [location(name) for name in self.inputs]

    def refuse(self, model: str, *names: str) -> None:
        """Raise a UserError if one of these is set, which a model of this type has no use for."""
        for name in names:
            if getattr(self, name):
                raise UserError(f"{name} {getattr(self, name)}", f"{model} has no such option", "leave it out")


class RendererType(NamedTuple):
    """How models of a type render.

    Attributes:
        rows: those of the inputs of a request, which is checked; takes a function that reports what is none.
        load: the renderer of a model folder.
    """

    rows: Callable[[Request, Callable[[UserError], None]], Sequence[Any]]
    load: Callable[[Path, Request], Renderer]


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
    renderer = load()
    rows = load.type.rows(request, report)
    executor = EXECUTORS[request.execution.executor](request.execution, load)
    return render_all(renderer, rows, report, executor, log=LOG, quiet=quiet)


@dataclass(frozen=True)
class _Load:
    """Loads the renderer of a request, in whichever process."""

    model: Path
    request: Request

    @property
    def type(self) -> RendererType:
        kind = type_of(locate(self.model))
        found = RENDERERS.get(kind, RENDERERS["vocoder"])  # which says what is wrong with a folder of an unknown type
        if found is None:
            problem = f"is a model of type {kind}, which renders nothing"
            raise UserError(self.model, problem, "choose a vocoder, a voice or an audio generator")
        return found

    def __call__(self) -> Renderer:
        return self.type.load(self.model, self.request)


def _mel_rows(request: Request, report: Callable[[UserError], None]) -> Sequence[RenderInput]:
    rows = find_inputs(request.sources, request.folder, report)
    return name_rows(
        rows,
        request.files.name,
        lambda row: {"name": row.name, **row.options},
        lambda row, name: replace(row, name=PurePosixPath(name)),
        lambda row: str(row.path),
    )


def _mel_renderer(model: Path, request: Request) -> MelRenderer:
    request.refuse("a vocoder", "vocoder", "lexicon", "count")
    options = request.options.of(SynthesisOptions, "a vocoder")
    spec = None if request.mel_spec is None else MelSpec.preset(request.mel_spec)
    vocoder = Vocoder.from_pretrained(
        model, request.device, request.precision, _backend(model), compile=request.compile
    )
    return MelRenderer(vocoder, request.folder, options, request.files, spec, request.convert_mel)


def _text_rows(request: Request, _: Callable[[UserError], None]) -> Sequence[TextLine]:
    return name_rows(
        read_lines(request.sources),
        request.files.name,
        lambda row: {"name": row.name, **_given(request.options, SpeechOptions), **row.options},
        lambda row, name: replace(row, file_name=name),
        lambda row: row.place,
    )


def _speech_renderer(model: Path, request: Request) -> SpeechRenderer:
    request.refuse("a voice", "mel_spec", "convert_mel", "compile", "count")
    options = request.options.of(SpeechOptions, "a voice")
    synthesizer = SpeechSynthesizer.from_pretrained(
        model, request.device, request.precision, _backend(model), vocoder=request.vocoder, lexicon=request.lexicon
    )
    digest = None if request.lexicon is None else hashlib.sha256(request.lexicon.read_bytes()).hexdigest()
    return SpeechRenderer(synthesizer, request.folder, options, request.files, digest)


def _prompt_rows(request: Request, _: Callable[[UserError], None]) -> Sequence[PromptRow]:
    count = 1 if request.count is None else request.count
    if count < 1:
        raise UserError(f"count {count}", "must be at least 1", "give 1 or more")
    return name_rows(
        read_prompts(map(location, request.inputs), count),
        request.files.name,
        lambda row: {"name": row.file, "clip": row.clip, **row.options},
        lambda row, name: replace(row, file=name),
        lambda row: f"{row.place} (clip {row.clip})" if count > 1 else row.place,
    )


def _clip_renderer(model: Path, request: Request) -> ClipRenderer:
    request.refuse("an audio generator", "vocoder", "lexicon", "mel_spec", "convert_mel", "compile")
    config = request.options.of(GenerationConfig, "an audio generator")
    generator = AudioGenerator.from_pretrained(model, request.device, request.precision)
    return ClipRenderer(generator, request.folder, config, request.files)


def _given(options: RenderOptions, config: type) -> dict[str, Any]:
    """The options of all rows, for names."""
    return {name: getattr(options, name) for name in options_of(config)}


def _backend(model: Path) -> str:
    return "onnx" if is_export(model) else "torch"


# None: there is nothing to render; `audiodiff upsample` is for upsamplers, `audiodiff restore` for restorers.
RENDERERS: dict[str, RendererType | None] = {
    "vocoder": RendererType(_mel_rows, _mel_renderer),
    "audio": RendererType(_prompt_rows, _clip_renderer),
    "codec": None,
    "acoustic": RendererType(_text_rows, _speech_renderer),
    "aligner": None,
    "audio_text": None,
    "noisy_classifier": None,
    "hypernetwork": None,
    "upsampler": None,
    "restorer": None,
}
