"""`audiodiff explain generate` and `audiodiff explain say`: how a clip is made, step by step, as a picture and JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiodiff.cli.options import Device, Model, expand_options
from audiodiff.errors import UserError
from audiodiff.pipelines.options import GenerationConfig, SpeechOptions

if TYPE_CHECKING:
    from audiodiff.pipelines.explanation import Explanation

Out = Annotated[Path, typer.Option(help="Output folder, for explanation.png, explanation.json and the audio.")]


def explain(context: typer.Context) -> None:
    """Explain how a clip is made: a picture and JSON of its estimates, attention, and sensitivity to each condition."""
    if context.invoked_subcommand is None:
        raise UserError("explain", "what to explain is missing", "write `explain generate` or `explain say TEXT`")


@expand_options
def generate(
    *, model: Model = Path("sounds"), config: GenerationConfig, out: Out = Path("explained"), device: Device = "auto"
) -> None:
    """Explain how a clip is generated: attention over words and time, sensitivity to each condition."""
    from audiodiff.pipelines.audio_explainer import AudioExplainer

    _write(AudioExplainer.from_pretrained(model, device).explain(config), out, "generate")


@expand_options
def say(
    text: Annotated[str, typer.Argument(help="Sentence to speak.")],
    options: SpeechOptions,
    voice: Annotated[Path, typer.Option(help="Model folder, or the name of a shipped voice.")] = Path("voice-en"),
    vocoder: Annotated[
        Path | None, typer.Option(help="Vocoder folder or name (default: the one that the voice names).")
    ] = None,
    out: Out = Path("explained"),
    device: Device = "auto",
) -> None:
    """Explain how a sentence is spoken: attention within its phonemes, sensitivity to text and speaker."""
    from audiodiff.pipelines.speech_explainer import SpeechExplainer

    _write(SpeechExplainer.from_pretrained(voice, device, vocoder=vocoder).explain(text, options), out, "say")


def _write(explanation: "Explanation", out: Path, verb: str) -> None:
    import json

    from audiodiff.audio import io
    from audiodiff.evaluation import explanation_figure
    from audiodiff.files import write_text
    from audiodiff.rendering.sidecar import describe

    metadata = describe(f"audiodiff explain {verb}", explanation.settings)
    io.write(out / "clip.wav", explanation.audio, metadata=metadata)
    explanation_figure.draw(explanation, out / "explanation.png")
    write_text(out / "explanation.json", json.dumps(explanation.record(), ensure_ascii=False, allow_nan=False) + "\n")
    print(out)


SUBVERBS = {"generate": generate, "say": say}
