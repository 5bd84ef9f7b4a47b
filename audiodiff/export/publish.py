"""Publishing: a training run's model folder becomes one that is shipped under a name (`checkpoint.SHIPPED`).

What is shipped is small, since history keeps every copy: weights in half precision, at most `MOST_PARAMETERS` and
`MOST_BYTES`. Its card is written anew from what checkpoint and manifests record, training stage by stage, and refused
where they do not belong together; people add what is known to fail.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from audiodiff.data.manifest import Manifest
from audiodiff.data.provenance import Provenance, provenance
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.checkpoint import Checkpoint
from audiodiff.models.codec import RECORD
from audiodiff.models.vocoder_model import VocoderModel

MOST_PARAMETERS = 8_000_000
MOST_BYTES = 16 * 2**20
STARTED_FROM = "started_from"  # in a training record: that of the model whose weights it began with
STAGE = ("stage", "steps", "hours of audio seen", "wall time", "hardware", "data", "audiodiff")
CORPUS = ("corpus", "source", "license", "hours", "trained on", "speakers", "attribution")

VOCODER = """A mel-conditioned diffusion vocoder for {rate} Hz: {parameters:,} parameters, half precision.

    from audiodiff import Vocoder
    audio = Vocoder.from_pretrained("{name}").generate(mel)

Mel spec: {spec}"""

MUSIC = """A diffusion model that generates audio: {parameters:,} parameters, half precision. It generates clips of
{seconds:.2f} seconds at {rate} Hz with {channels} channel(s){longer}.

    audiodiff generate --model {name} --count 8 --out clips

Labels: {labels}"""

CARD = """---
library_name: audiodiff
pipeline_tag: {tag}
---
# {name}

{kind}

## Training

{stages}

## Data

{data}

Licenses and names are quoted from the corpora's copyright files. If you redistribute these weights, follow the terms of
these licenses, including attribution and share-alike.

## Known limitations

{notes}
"""


def publish(
    model: str | Path, out: str | Path, manifests: Sequence[Manifest], notes: str, overwrite: bool = False
) -> Path:
    """Write a run's model as one to be shipped; the folder is returned.

    Args:
        model: folder that training exported.
        out: the folder to write; its name is the model's.
        manifests: all that it was trained on, at any stage.
        notes: what is known to fail, Markdown.
        overwrite: replace a model that is there.

    Raises:
        UserError: a model that is too large, that half precision does not hold or that `out` would replace; a stage of
            its training whose manifest is not given; no notes.
    """
    out, folder = Path(out), checkpoint.locate(model)
    if not notes.strip():
        raise UserError("notes", "are empty", "say what is known to fail")
    if (out / "config.json").exists() and not overwrite:
        raise UserError(out, "holds a model already, of which history would keep a copy", "say --overwrite")
    found = checkpoint.load(folder)
    kind = AudioModel if found.type == AudioModel.TYPE else VocoderModel
    built = kind.from_checkpoint(found, folder)
    parameters = sum(parameter.numel() for parameter in built.parameters())
    halved = replace(found, weights=checkpoint.halved(found.weights), stored=checkpoint.HALF)
    _check_size(folder, parameters, halved)
    if isinstance(built, AudioModel) and built.codec is not None and RECORD not in found.training:
        raise UserError(folder, "does not record how its codec was trained", "train it again on that codec")
    stages = training_stages(found.training)
    _check_manifests(folder, stages, manifests)
    tag, kind = _kind(built, out.name, parameters)
    card = CARD.format(
        name=out.name,
        tag=tag,
        kind=kind,
        stages=_table(STAGE, (_stage(number, *stage) for number, stage in enumerate(stages, 1))),
        data=_table(CORPUS, (_corpus(corpus) for manifest in manifests for corpus in provenance(manifest))),
        notes=notes.strip(),
    )
    checkpoint.save(out, halved, card)
    return out


def _kind(model: VocoderModel | AudioModel, name: str, parameters: int) -> tuple[str, str]:
    """How a hub files a model, and what it is, in words."""
    fields = {"name": name, "parameters": parameters}
    if isinstance(model, VocoderModel):
        return "audio-to-audio", VOCODER.format(rate=model.mel_spec.sample_rate, spec=model.mel_spec, **fields)
    longer = ", or longer ones in overlapping windows" if model.codec is not None else ""
    told = {"seconds": model.samples / model.sample_rate, "rate": model.sample_rate, "channels": model.channels}
    labels = ", ".join(model.labels) or "none"
    return "unconditional-audio-generation", MUSIC.format(longer=longer, labels=labels, **told, **fields)


def training_stages(training: dict, part: str = "") -> list[tuple[str, dict]]:
    """The training records that led to a model, the first run's first, each with what was trained ("": the model)."""
    if not training:
        return []
    stages = training_stages(training.get(RECORD, {}), RECORD)
    earlier = training_stages(training.get(STARTED_FROM, {}), part)  # maybe about the same codec
    return [*stages, *(stage for stage in earlier if stage not in stages), (part, training)]


def _check_size(folder: Path, parameters: int, halved: Checkpoint) -> None:
    size = sum(weight.nbytes for weight in halved.weights.values())
    if parameters > MOST_PARAMETERS:
        raise UserError(folder, f"has {parameters:,} parameters, more than {MOST_PARAMETERS:,}", "train a smaller one")
    if size > MOST_BYTES:
        raise UserError(folder, f"takes {size / 2**20:.1f} MiB, more than {MOST_BYTES >> 20}", "train a smaller one")


def _check_manifests(folder: Path, stages: Sequence[tuple[str, dict]], manifests: Sequence[Manifest]) -> None:
    given = {
        manifest.with_splits("train").content_hash() for manifest in manifests
    }  # of the clips that a run trains on
    if not stages:
        raise UserError(folder, "records no training", "publish what `audiodiff train` exported")
    for _, record in stages:
        if record.get("manifest_hash") not in given:
            problem = f"was trained on {record.get('data')}, manifest {record.get('manifest_hash')}, which is not given"
            raise UserError(folder, problem, "name that manifest as it was then")


def _stage(number: int, part: str, record: dict) -> tuple[str, ...]:
    return (
        f"{number}, {part}" if part else str(number),
        f"{record['steps']:,}",
        f"{record['audio_hours']:.1f}",
        f"{record['minutes'] / 60:.1f} h" if record["minutes"] >= 60 else f"{record['minutes']:.0f} min",
        str(record.get("hardware", record["device"])),
        f"{record['data']} ({record['manifest_hash']})",
        str(record["version"]),
    )


def _corpus(corpus: Provenance) -> tuple[str, ...]:
    return (
        corpus.corpus + (" (SYNTHETIC)" if corpus.synthetic else ""),
        corpus.source,
        corpus.license,
        f"{corpus.hours:.2f}",
        f"{corpus.training_hours:.2f}",
        str(corpus.speakers),
        corpus.attribution,
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in line)} |" for line in lines)
