"""Mutated tar shards and their manifests, and graphs of exported models."""

import io
import json
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random

import tiny_models
import torch
from exported_models import export_parts
from fuzzing.mutation import mutate_bytes, mutate_json, mutate_name

from audiodiff.audio import io as audio_io
from audiodiff.audio.reading.shard import find_member, open_file
from audiodiff.data.corpora.tones import write_tones
from audiodiff.data.dataset import CropDataset
from audiodiff.data.manifest import Manifest
from audiodiff.data.shards import write_shards
from audiodiff.models import onnx_export
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.vocoder import Vocoder

Case = Callable[[Random, Path], None]


def shards(folder: Path) -> Case:
    """Tar archives whose headers, contents, member names or manifest are changed, read by crops and by members."""
    manifest = write_shards(write_tones(folder / "tones", clips=6, seconds=0.1), folder / "shards", megabytes=0.005)
    archives = {path.name: path.read_bytes() for path in manifest.root.glob("*.tar")}
    lines = (manifest.root / "manifest.jsonl").read_bytes().splitlines()

    def case(draw: Random, here: Path) -> None:
        files, rows = dict(archives), list(lines)
        name = draw.choice(sorted(files))
        change = draw.choice(("bytes", "bytes", "headers", "names", "manifest"))
        if change == "manifest":
            at = draw.randrange(len(rows))
            rows[at] = mutate_json(rows[at], draw)
        elif change == "names":
            files[name] = _renamed(files[name], draw)
        else:
            content = files[name]
            cut = 512 if change == "headers" else len(content)  # the first header, or anything
            files[name] = mutate_bytes(content[:cut], draw, files[min(files)]) + content[cut:]
        for archive, content in files.items():
            (here / archive).write_bytes(content)
        (here / "manifest.jsonl").write_bytes(b"\n".join(rows) + b"\n")
        read = draw.choice((_read_members, _read_crops))
        read(here, files, draw)

    return case


def _read_members(here: Path, archives: dict[str, bytes], draw: Random) -> None:
    """Read members by paths that archives have, and by others."""
    for name in archives:
        for member in ("tones/000.flac", mutate_name(draw)):
            path = here / name / member
            try:
                found = find_member(path)
                if found is not None:
                    assert (
                        found.archive == here / name and 0 <= found.start <= found.stop <= (here / name).stat().st_size
                    )
                    open_file(path).read()
            except (OSError, ValueError):
                continue  # as of a file
    audio_io.read(here / min(archives) / "tones/000.flac")


def _read_crops(here: Path, archives: dict[str, bytes], draw: Random) -> None:
    crops = CropDataset(Manifest.load(here).with_splits("train"), 16000, 800)
    for number in range(3):
        item = crops[draw.randrange(40) + number]
        assert item["waveform"].isfinite().all() and item["waveform"].shape[-1] == 800


def _renamed(content: bytes, draw: Random) -> bytes:
    """An archive whose members have other names and kinds, such as of links out of it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=written, mode="w") as new:
        for member in old:
            data = old.extractfile(member)
            if draw.random() < 0.6:
                member.name = draw.choice((mutate_name(draw), "../../x", "/etc/passwd", "", "a" * 300)) or "x"
            if draw.random() < 0.3:
                member.type = draw.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE))
                member.linkname = draw.choice(("/etc/passwd", "../../x", member.name))
            try:
                new.addfile(member, data)
            except (ValueError, UnicodeError, OSError):
                continue  # no archive can hold this name
    return written.getvalue()


def graphs(folder: Path) -> Case:
    """ONNX graphs of exported models, whose hash is right: loaded, and evaluated."""
    model = tiny_models.make_model()
    config, graph, arrays = export_parts(model)
    # The end of a graph is nodes, names and types; in front of them are weights.

    def case(draw: Random, here: Path) -> None:
        edge = draw.choice((0, len(graph) - 700, 200))
        whole = graph[:edge] + mutate_bytes(graph[edge:], draw, graph[:400])
        files = {onnx_export.GRAPH: sha256(whole).hexdigest(), onnx_export.ARRAYS: sha256(arrays).hexdigest()}
        (here / onnx_export.CONFIG).write_text(json.dumps(config | {"files": files}))
        (here / onnx_export.GRAPH).write_bytes(whole)
        (here / onnx_export.ARRAYS).write_bytes(arrays)
        loaded = onnx_export.read(here).model(VocoderModel)
        made = Vocoder(loaded).generate(torch.full((model.mel_spec.n_mels, 4), -5.0), steps=2)
        assert made.samples.isfinite().all()

    return case
