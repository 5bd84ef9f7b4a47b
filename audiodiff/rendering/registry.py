"""Renderers by model type: from paths on a command line to files."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiodiff.audio.mel import MelSpec
from audiodiff.errors import UserError
from audiodiff.models.onnx_export import is_export
from audiodiff.pipelines.options import SpeechOptions, SynthesisOptions
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.jobs import Outcome
from audiodiff.rendering.lines import read_lines
from audiodiff.rendering.options import FileOptions, RenderOptions
from audiodiff.rendering.render import render
from audiodiff.rendering.speech import render_speech


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to render.

    Attributes:
        inputs: recordings, mels, folders and manifests for vocoders; texts and tables for voices.
        out: output folder.
        options: of the model.
        files: how files are written.
        mel_spec: name of the spec of saved mels that carry none.
        convert_mel: whether to convert saved mels of other filters or another transform.
        vocoder: of a voice, in place of its own.
        lexicon: CSV file of pronunciations for a voice.
        device, precision, compile: as of the pipelines.
    """

    inputs: Sequence[Path]
    out: Path
    options: RenderOptions
    files: FileOptions
    mel_spec: str | None = None
    convert_mel: bool = False
    vocoder: Path | None = None
    lexicon: Path | None = None
    device: str = "auto"
    precision: str = "float32"
    compile: bool = False

    def refuse(self, model: str, *names: str) -> None:
        """Raise a UserError if one of these is set, which a model of this type has no use for."""
        for name in names:
            if getattr(self, name):
                raise UserError(f"{name} {getattr(self, name)}", f"{model} has no such option", "leave it out")


def _render_mels(model: Path, request: Request, report: Callable[[UserError], None]) -> Outcome:
    request.refuse("a vocoder", "vocoder", "lexicon")
    options = request.options.of(SynthesisOptions, "a vocoder")
    spec = None if request.mel_spec is None else MelSpec.preset(request.mel_spec)
    vocoder = Vocoder.from_pretrained(
        model, request.device, request.precision, _backend(model), compile=request.compile
    )
    inputs = find_inputs(request.inputs, request.out, report)
    return render(vocoder, inputs, request.out, options, report, request.files, spec, request.convert_mel)


def _render_texts(model: Path, request: Request, report: Callable[[UserError], None]) -> Outcome:
    request.refuse("a voice", "mel_spec", "convert_mel", "compile")
    options = request.options.of(SpeechOptions, "a voice")
    lines = read_lines(request.inputs)
    synthesizer = SpeechSynthesizer.from_pretrained(
        model, request.device, request.precision, _backend(model), vocoder=request.vocoder, lexicon=request.lexicon
    )
    digest = None if request.lexicon is None else hashlib.sha256(request.lexicon.read_bytes()).hexdigest()
    return render_speech(synthesizer, lines, request.out, options, report, request.files, digest)


def _backend(model: Path) -> str:
    return "onnx" if is_export(model) else "torch"


# None: there is nothing to render; `audiodiff generate` is for audio models, `audiodiff upsample` for upsamplers and
# `audiodiff restore` for restorers.
RENDERERS: dict[str, Callable[[Path, Request, Callable[[UserError], None]], Outcome] | None] = {
    "vocoder": _render_mels,
    "audio": None,
    "codec": None,
    "acoustic": _render_texts,
    "aligner": None,
    "audio_text": None,
    "noisy_classifier": None,
    "hypernetwork": None,
    "upsampler": None,
    "restorer": None,
}
