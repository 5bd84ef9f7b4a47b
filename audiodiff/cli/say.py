"""`audiodiff say`: speak a text."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiodiff.cli.options import Device, Precision, Settings, expand_options
from audiodiff.errors import UserError
from audiodiff.pipelines.options import SpeechOptions

if TYPE_CHECKING:
    from torch import Tensor


@expand_options
def say(
    text: Annotated[str | None, typer.Argument(help="Text to speak, a text file, or - for standard input.")] = None,
    *,
    options: SpeechOptions,
    voice: Annotated[Path, typer.Option(help="Model folder, or the name of a shipped voice.")] = Path("voice-en"),
    out: Annotated[Path, typer.Option(help="Audio file to write, WAV, FLAC or OGG.")] = Path("speech.wav"),
    vocoder: Annotated[
        Path | None, typer.Option(help="Vocoder folder or name (default: the one that the voice names).")
    ] = None,
    lexicon: Annotated[Path | None, typer.Option(help="CSV file of word,phonemes.")] = None,
    phonemes: Annotated[bool, typer.Option("--phonemes", help="The text is phonemes, such as həlˈO.")] = False,
    srt: Annotated[Path | None, typer.Option(help="Subtitles to write, a sentence each.")] = None,
    textgrid: Annotated[Path | None, typer.Option(help="Praat TextGrid to write, of words and phonemes.")] = None,
    json: Annotated[Path | None, typer.Option(help="JSON file to write, with all times.")] = None,
    watermark: Annotated[bool, typer.Option(help="Embed an inaudible watermark, which audiodiff info finds.")] = False,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Speak a text: [[həlˈoʊ]] in it is pronounced as written, [pause 0.5] is silence of half a second."""
    from audiodiff.audio import io
    from audiodiff.audio.watermark import embed_chunks
    from audiodiff.cli.output import warnings_above_progress
    from audiodiff.files import check_writable, write_pieces
    from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
    from audiodiff.pipelines.transcript_formats import json_pieces, srt_pieces, textgrid_pieces
    from audiodiff.pipelines.transcript_spool import TranscriptSpool
    from audiodiff.rendering.sidecar import describe, precision_of
    from audiodiff.rendering.speech import describe_speech
    from audiodiff.text.front_end import Utterance

    content = settings.text if text is None and settings is not None else text and read_text(text)
    if content is None:
        raise UserError("TEXT", "is missing", 'write one, such as "The file is ready.", or the name of a text file')
    io.check_writable(out)
    for path in filter(None, (srt, textgrid, json)):
        check_writable(path)
    with warnings_above_progress(), TranscriptSpool(content) as transcript:
        synthesizer = SpeechSynthesizer.from_pretrained(voice, device, precision, vocoder=vocoder, lexicon=lexicon)
        if settings is not None:
            synthesizer = settings.with_lexicon(synthesizer)
            settings.compare(synthesizer)
        spoken = Utterance.from_phonemes(content, synthesizer.model.symbols) if phonemes else content

        def pieces() -> "Iterator[Tensor]":
            for speech in synthesizer.stream(spoken, options, early=False):
                transcript.add(speech)
                yield speech.audio.samples[None]

        record = synthesizer.complete(options).record() | {"phonemes": phonemes or None, "watermark": watermark or None}
        digest = None if lexicon is None else hashlib.sha256(lexicon.read_bytes()).hexdigest()
        metadata = describe(
            "audiodiff say", describe_speech(synthesizer, content, record, digest) | precision_of(synthesizer)
        )
        samples = embed_chunks(pieces(), synthesizer.sample_rate) if watermark else pieces()
        io.write_chunks(out, samples, synthesizer.sample_rate, metadata=metadata)
        for path, pieces_of in ((srt, srt_pieces), (textgrid, textgrid_pieces), (json, json_pieces)):
            if path is not None:
                write_pieces(path, pieces_of(transcript))
    print(f"{out}: {transcript.seconds:.2f} s, {len(transcript.words)} words")


def read_text(text: str) -> str:
    """The text itself, of the file of that name, or of standard input for "-".

    Raises:
        UserError: the file is missing, cannot be read, or is not UTF-8.
    """
    try:
        if text == "-":
            return sys.stdin.read()
        if len(text) < 256 and "\n" not in text and text.strip() and Path(text).is_file():
            return Path(text).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(text, "is not UTF-8 text", "save it as UTF-8") from error
    except (OSError, ValueError):
        pass  # a text that cannot be a path
    if text.endswith(".txt") and len(text.split()) == 1:
        raise UserError(text, "no such file", "check the path")
    return text
