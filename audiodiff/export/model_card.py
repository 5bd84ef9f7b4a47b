"""Model cards: the README.md of a published model, written from its training record and its manifests."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from audiodiff.data.licenses import license_names, license_terms
from audiodiff.data.manifest import Manifest
from audiodiff.data.provenance import Provenance, provenance
from audiodiff.models import card
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.aligner import Aligner
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.codec import Codec
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.residual_model import ResidualModel
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel

STAGE = ("stage", "steps", "hours of audio seen", "wall time", "core-hours", "hardware", "data", "audiodiff")
CORPUS = ("corpus", "source", "license", "hours", "trained on", "speakers", "attribution")
# Tags of a hub, by the terms of `data.licenses.Terms` that they tell of.
TERM_TAGS = {
    "share_alike": "share-alike",
    "copyleft": "gpl",
    "noncommercial": "non-commercial",
    "no_derivatives": "no-derivatives",
    "unknown": "unknown-license",
}

VOCODER = """A mel-conditioned diffusion vocoder for {rate} Hz: {parameters:,} parameters, half precision.

    from audiodiff import Vocoder
    audio = Vocoder.from_pretrained("{name}").generate(mel)

Mel spec: {spec}
{settings}"""

SETTINGS = """Settings, by name (`generate(mel, setting=NAME)`, `audiodiff render --setting NAME`):

{table}

The first is the default."""

VOICE = """A text-to-speech model: a diffusion model of mel spectrograms, conditioned on phonemes and a speaker;
{parameters:,} parameters, half precision. The vocoder `{vocoder}` makes the waveform, {rate} Hz.

    audiodiff say "The file is ready." --voice {name} --out ready.wav

Language: {language}. Speakers: {speakers}.

Mel spec: {spec}"""

SYNTHETIC = """**Synthetic voices.** {corpora}: these clips are the output of text-to-speech programs, not recordings of
people. A voice that is trained on them is the voice of nobody, and what it says is synthetic speech."""

RENDERED = "**Synthetic clips.** {corpora}: these clips are rendered by programs, not recorded."

SYNTHETIC_MARK = " (SYNTHETIC)"  # behind the name of a corpus

# By teacher: what a program that makes training data was itself trained on, as its authors say.
TEACHERS = {
    "hibari": "hibari-tts was distilled from the voice af_heart of Kokoro-82M; its pronunciations of unknown words "
    "come from a network trained on the output of espeak-ng, of which no code or data is included.",
    "kokoro": "Kokoro-82M was trained on permissive or non-copyrighted audio, part of it synthetic, as its card says.",
}

GENERATOR = """A diffusion model that generates audio: {parameters:,} parameters, half precision. It generates clips of
{seconds:.2f} seconds at {rate} Hz with {channels} channel(s){longer}.

    audiodiff generate --model {name}{prompt} --count 8 --out clips

{conditions}
{guidance}"""

PROMPTS = """It takes text prompts; training captions have {words} different words. Texts start from the frozen
embeddings {source} (extra `prompts`), which are not part of these weights."""

GUIDANCE = """Default guidance, where a request has conditions: {setting} (`--guidance`, `--guidance-rescale`,
`--guidance-interval`; `--guidance 1` is the model as trained)."""

AUDIO_TEXT = """An audio-text embedding: clips and texts as vectors of {width} numbers, which are similar where a text
describes the clip; {parameters:,} parameters, half precision. Clips may be of any length, level and sample rate; it
works at {rate} Hz.

    import audiodiff
    similarity = audiodiff.load("{name}").similarity(audio, ["a kick drum", "a metal bell"])

    audiodiff search FOLDER "a short snare" --model {name}

Texts start from the frozen embeddings {source} (extra `prompts`), which are not part of these weights. Training
captions have {words:,} different words."""

HYPERNETWORK = """A hypernetwork: it predicts an adapter of rank {rank} of `{base}` from one or several clips of a
sound, in one pass and without training; {parameters:,} parameters. Clips are embedded by `{embedder}`.

    audiodiff adapt clip.wav more.wav --model {name} --out my-adapter
    audiodiff generate --model {base} --prompt "a sound" --adapter my-adapter

Its adapters change `{base}` with the hash {hash} and no other model."""

UPSAMPLER = """A diffusion model that completes the upper band of recordings of lower sample rates, to {rate} Hz:
{parameters:,} parameters, half precision. The band that a recording has is returned as it was.

    audiodiff upsample recording.wav --to {rate} --model {name} --out upsampled

Denoising steps: {steps} by default."""

RESTORER = """A diffusion model that restores recordings at {rate} Hz which are noisy, clipped or have gaps:
{parameters:,} parameters, half precision. Samples that are known are returned as they were.

    audiodiff restore recording.wav --declip --denoise --model {name} --out restored

Denoising steps: {steps} by default."""

CARD = """{metadata}
# {name}

{description}

## Training

{stages}

{bill}

## Data

{data}
{synthetic}
Licenses and names are quoted from the corpora's copyright files. If you redistribute these weights, follow the terms of
these licenses, including attribution and share-alike.

## Known limitations

{limitations}
"""


def hub_entries(
    pipeline_tag: str, licenses: Sequence[str], kind: str = "", language: str = "", tags: Sequence[str] = ()
) -> dict[str, Any]:
    """What a card's front matter says to a hub: library, task, language, and by license and tags the training data.

    Args:
        pipeline_tag: task of the model, as the Hugging Face hub names it; empty: none of the hub's.
        licenses: license statements of the training data.
        kind: model type.
        language: that it speaks, such as "en-us".
        tags: further ones.
    """
    terms, names = license_terms(*licenses), license_names(*licenses)
    of_terms = [tag for term, tag in TERM_TAGS.items() if getattr(terms, term)]
    entries = {
        "library_name": "audiodiff",
        "pipeline_tag": pipeline_tag,
        "language": language.partition("-")[0],
        "license": "other",
        "license_name": "; ".join(names),
        "tags": list(dict.fromkeys(filter(None, ["audio", kind.replace("_", "-"), *tags, *of_terms]))),
    }
    return {name: value for name, value in entries.items() if value}


def metadata(pipeline_tag: str, licenses: Sequence[str], kind: str = "", language: str = "") -> str:
    """The front matter of a card, in YAML; its arguments are those of `hub_entries`."""
    lines = ["---"]
    for name, value in hub_entries(pipeline_tag, licenses, kind, language).items():
        texts = f"[{', '.join(value)}]" if isinstance(value, list) else value
        lines.append(f"{name}: {json.dumps(texts) if name == 'license_name' else texts}")
    return "\n".join([*lines, "---"])


def _describe_vocoder(model: VocoderModel, name: str, parameters: int) -> str:
    settings = describe_settings(model)
    return VOCODER.format(
        rate=model.mel_spec.sample_rate,
        spec=model.mel_spec,
        name=name,
        parameters=parameters,
        settings=f"\n{card.marked(settings, card.SETTINGS)}" if settings else "",
    ).rstrip()


def describe_settings(model: VocoderModel) -> str:
    """The named settings of a vocoder, as its card has them; empty without any."""
    if not model.has_named_settings:
        return ""
    header = ("setting", "steps", "sampler", "mel consistency")
    rows = [(one.name, str(one.steps), one.sampler, f"{one.consistency} iterations") for one in model.settings]
    return SETTINGS.format(table=_table(header, rows))


def _describe_generator(model: AudioModel, name: str, parameters: int) -> str:
    guidance = describe_guidance(model)
    return GENERATOR.format(
        name=name,
        parameters=parameters,
        seconds=model.samples / model.sample_rate,
        rate=model.sample_rate,
        channels=model.channels,
        longer=", or longer ones in overlapping windows" if model.codec is not None else "",
        prompt=' --prompt "a kick drum"' if model.takes_prompts else "",
        conditions=_describe_conditions(model),
        guidance=f"\n{card.marked(guidance, card.GUIDANCE)}" if guidance else "",
    ).rstrip()


def _describe_conditions(model: AudioModel) -> str:
    prompts = [
        PROMPTS.format(words=len(one.words), source=one.source) for one in model.conditioners if one.name == "prompt"
    ]
    labels = [] if prompts and not model.labels else [f"Labels: {', '.join(model.labels) or 'none'}"]
    numbers = [
        f"{option.help} (`{option.flag_for(name)}`)"
        for name, option in model.condition_options().items()
        if option.kind == "number"
    ]
    return "\n\n".join([*prompts, *labels, *numbers])


def describe_guidance(model: AudioModel) -> str:
    """The default guidance of a generator, as its card has it; empty without one."""
    return "" if model.guidance is None else GUIDANCE.format(setting=model.guidance)


def _describe_voice(model: AcousticModel, name: str, parameters: int) -> str:
    return VOICE.format(
        rate=model.mel_spec.sample_rate,
        spec=model.mel_spec,
        name=name,
        parameters=parameters,
        vocoder=model.vocoder,
        language=model.language,
        speakers=", ".join(model.speakers) or "one",
    )


def _describe_audio_text(model: AudioTextModel, name: str, parameters: int) -> str:
    return AUDIO_TEXT.format(
        name=name,
        parameters=parameters,
        width=model.width,
        rate=model.sample_rate,
        source=model.prompt.source,
        words=len(model.prompt.words),
    )


def _describe_hypernetwork(model: Hypernetwork, name: str, parameters: int) -> str:
    texts = {"base": model.base, "embedder": model.embedder, "hash": model.base_hash[:12]}
    return HYPERNETWORK.format(name=name, parameters=parameters, rank=model.network.rank, **texts)


def _describe_residual(text: str, model: ResidualModel, name: str, parameters: int) -> str:
    return text.format(rate=model.sample_rate, name=name, parameters=parameters, steps=model.default_steps)


# By model type, the task by the hub's name and the description; None: not published by itself.
CARDS: dict[str, tuple[str, Callable[[PretrainedModel, str, int], str]] | None] = {
    VocoderModel.TYPE: ("audio-to-audio", _describe_vocoder),
    AudioModel.TYPE: ("text-to-audio", _describe_generator),
    Codec.TYPE: None,
    AcousticModel.TYPE: ("text-to-speech", _describe_voice),
    Aligner.TYPE: None,
    AudioTextModel.TYPE: ("feature-extraction", _describe_audio_text),
    NoisyClassifier.TYPE: None,
    Hypernetwork.TYPE: ("text-to-audio", _describe_hypernetwork),
    UpsamplerModel.TYPE: ("audio-to-audio", partial(_describe_residual, UPSAMPLER)),
    RestorationModel.TYPE: ("audio-to-audio", partial(_describe_residual, RESTORER)),
}


def model_card(
    model: PretrainedModel,
    name: str,
    stages: Sequence[tuple[str, dict]],
    licenses: Sequence[str],
    manifests: Sequence[Manifest],
    limitations: str,
    stated: Sequence[Sequence[str]] = (),
) -> str:
    """Write the card of a model whose type has one.

    Args:
        model: to be published.
        name: under which it is.
        stages: its training, as `models.training_record.training_stages` lists it.
        licenses: license statements of its training data.
        manifests: all that it was trained on.
        limitations: known limitations, Markdown.
        stated: rows of the data table for data without a manifest; those with the source, license and
            attribution of a corpus that has one are left out.
    """
    pipeline_tag, describe = CARDS[model.TYPE]
    corpora = [corpus for manifest in _distinct(manifests) for corpus in provenance(manifest)]
    rows = [_corpus(corpus) for corpus in corpora]
    others = [row for row in stated if _terms(row) not in {_terms(row) for row in rows}]
    return CARD.format(
        name=name,
        metadata=metadata(pipeline_tag, licenses, model.TYPE, getattr(model, "language", "")),
        description=describe(model, name, sum(parameter.numel() for parameter in model.parameters())),
        stages=_table(STAGE, (_stage(number, *stage) for number, stage in enumerate(stages, 1))),
        bill=_bill([record for _, record in stages]),
        data=_table(CORPUS, [*rows, *others]),
        synthetic=_synthetic(corpora, others),
        limitations=limitations.strip(),
    )


def _stage(number: int, part: str, record: dict) -> tuple[str, ...]:
    return (
        f"{number}, {part}" if part else str(number),
        f"{record['steps']:,}",
        f"{record['audio_hours']:.1f}",
        f"{record['minutes'] / 60:.1f} h" if record["minutes"] >= 60 else f"{record['minutes']:.0f} min",
        _hours(core_hours(record)),
        str(record.get("hardware", record["device"])),
        f"{record['data']} ({record['manifest_hash']})",
        str(record["version"]),
    )


def core_hours(record: dict) -> float | None:
    """Wall time of a run times its threads, in hours; None if the threads are not recorded, or for a GPU."""
    threads = re.search(r"(\d+) threads?$", str(record.get("hardware", "")))
    return int(threads[1]) * record["minutes"] / 60 if threads else None


def _hours(hours: float | None) -> str:
    return "–" if hours is None else f"{hours:.1f}"


def _bill(records: Sequence[dict]) -> str:
    """The cost of all stages in words."""
    hours = [core_hours(record) for record in records]
    missing = sum(one is None for one in hours)
    rest = f", and {missing} stage{'s' if missing > 1 else ''} without a record of cores" if missing else ""
    return f"Together {sum(one for one in hours if one is not None):.1f} core-hours of training{rest}."


def _distinct(manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """The manifests, the largest first, with every clip in one only: stages of a training share data."""
    known: set[tuple[str, str]] = set()
    for manifest in sorted(manifests, key=lambda one: -len(one.clips)):
        clips = tuple(clip for clip in manifest.clips if (clip.id, clip.content) not in known)
        known |= {(clip.id, clip.content) for clip in clips}
        if clips:
            yield replace(manifest, clips=clips)


def _terms(row: Sequence[str]) -> tuple[str, ...]:
    """What decides whether two rows of the data table ask for the same: corpus, source, license, attribution."""
    return (*row[:3], row[-1])


def _synthetic(corpora: Sequence[Provenance], stated: Sequence[Sequence[str]] = ()) -> str:
    """What a card says of synthetic data, of corpora and of stated rows; empty without any."""
    found = [(corpus.corpus, corpus.spoken) for corpus in corpora if corpus.synthetic]
    names = [row[0].removesuffix(SYNTHETIC_MARK) for row in stated if row[0].endswith(SYNTHETIC_MARK)]
    found += [(name, name.partition("-")[0] in TEACHERS) for name in names]
    spoken, others = (dict.fromkeys(name for name, kind in found if kind == wanted) for wanted in (True, False))
    parts = []
    if spoken:
        teachers = {name.partition("-")[0] for name in spoken}  # hibari-shifted is read by hibari
        origins = " ".join(origin for name, origin in TEACHERS.items() if name in teachers)
        parts.append(f"{SYNTHETIC.format(corpora=', '.join(spoken))} {origins}".rstrip())
    if others:
        parts.append(RENDERED.format(corpora=", ".join(others)))
    return "".join(f"\n{part}\n" for part in parts)


def _corpus(corpus: Provenance) -> tuple[str, ...]:
    return (
        corpus.corpus + (SYNTHETIC_MARK if corpus.synthetic else ""),
        corpus.source,
        corpus.license,
        f"{corpus.hours:.2f}",
        f"{corpus.training_hours:.2f}",
        str(corpus.speakers),
        corpus.attribution,
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in line)} |" for line in lines)
