"""What is fuzzed: a target prepares its files once, and returns a case, which mutates one and uses it as users do."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
import odd_files
import tiny_models
import torch
from adapter_models import random_adapter
from exported_models import export_parts
from fuzzing.archives import graphs, shards
from fuzzing.command_lines import commands
from fuzzing.endpoints import endpoints
from fuzzing.mutation import PIECES, mutate_bytes, mutate_json, mutate_name, mutate_text
from fuzzing.settings import lexicons, overrides

from audiodiff.audio import io as audio_io
from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.array import read_array
from audiodiff.audio.mel.file import load_mel, mel_frames, save_mel, spec_path
from audiodiff.audio.metadata import read_metadata
from audiodiff.errors import UserError
from audiodiff.models import adapter, checkpoint
from audiodiff.models.adapted import AppliedAdapter
from audiodiff.models.registry import load_model

Case = Callable[[Random, Path], int | None]
MODELS: dict[str, Callable[[], object]] = {
    "vocoder": tiny_models.make_model,
    "acoustic": tiny_models.make_acoustic,
    "audio_text": tiny_models.make_audio_text,
    "upsampler": tiny_models.random_upsampler,
    "restorer": tiny_models.random_restorer,
}


def audio(folder: Path) -> Case:
    """Audio files of every format that is read, whole and odd ones."""
    seeds = [(Path(odd.name).suffix, odd.content) for odd in odd_files.ALL() if len(odd.content) < 400_000]
    sound = Audio(torch.sin(torch.arange(4000) * 0.1) * 0.3, 16000)
    for format in ("wav", "flac", "ogg"):
        path = folder / f"seed.{format}"
        audio_io.write(path, sound, metadata={"software": "audiodiff", "seed": 1})
        seeds += [(path.suffix, path.read_bytes())] * 20

    def case(draw: Random, here: Path) -> None:
        (suffix, content), (_, other) = draw.choice(seeds), draw.choice(seeds)
        path = here / f"x{suffix if draw.random() < 0.95 else draw.choice(('.wav', '.mp3', '.m4a', '.raw'))}"
        path.write_bytes(mutate_bytes(content, draw, other))
        json.dumps(read_metadata(path))
        info = audio_io.probe(path)
        read = audio_io.read(path)
        assert read.samples.isfinite().all() and read.sample_rate == info.sample_rate

    return case


def mels(folder: Path) -> Case:
    """Mels as arrays of NumPy, PyTorch and safetensors, with their specs."""
    spec, mel = PRESETS["speech_16k"], torch.randn(80, 12) - 5
    save_mel(folder / "a.npy", mel, spec)
    side = spec_path(folder / "a.npy").read_bytes()
    save_mel(folder / "a.safetensors", mel, spec)
    zipped, pickled = io.BytesIO(), io.BytesIO()
    np.savez(zipped, mel=mel.numpy())
    torch.save(mel, pickled)
    seeds = {
        ".npy": (folder / "a.npy").read_bytes(),
        ".safetensors": (folder / "a.safetensors").read_bytes(),
        ".npz": zipped.getvalue(),
        ".pt": pickled.getvalue(),
    }

    def case(draw: Random, here: Path) -> None:
        suffix = draw.choice(list(seeds))
        path = here / f"x{suffix}"
        path.write_bytes(mutate_bytes(seeds[suffix], draw, seeds[draw.choice(list(seeds))]))
        if draw.random() < 0.8:
            spec_path(path).write_bytes(mutate_json(side, draw) if draw.random() < 0.5 else side)
        read_array(path)
        if suffix in (".npy", ".safetensors"):
            loaded, _ = load_mel(path, spec if draw.random() < 0.5 else None)
            assert loaded.isfinite().all() and mel_frames(path) == loaded.shape[-1]

    return case


def use(model) -> None:
    """One short inference, where a type has one that takes milliseconds."""
    from audiodiff.pipelines.vocoder import Vocoder

    if model.TYPE == "vocoder":
        made = Vocoder(model).generate(torch.full((model.mel_spec.n_mels, 4), -5.0), steps=2)
        assert made.samples.isfinite().all() and len(made.samples) == 4 * model.mel_spec.hop_length


def checkpoints(folder: Path) -> Case:
    """Bytes of checkpoint folders of several types of models."""
    seeds = _saved(folder)

    def case(draw: Random, here: Path) -> None:
        files = dict(seeds[draw.choice(list(seeds))])
        name = draw.choice(("model.safetensors", "model.safetensors", "config.json"))
        files[name] = mutate_bytes(files[name], draw, files["config.json"])
        _use_checkpoint(files, here)

    return case


def configs(folder: Path) -> Case:
    """Values in the configs of checkpoints of several types of models."""
    seeds = _saved(folder)

    def case(draw: Random, here: Path) -> None:
        files = dict(seeds[draw.choice(list(seeds))])
        _use_checkpoint(files | {"config.json": mutate_json(files["config.json"], draw)}, here)

    return case


def _saved(folder: Path) -> dict[str, dict[str, bytes]]:
    """Files of a checkpoint of each type; without the hash, whose check would stop most cases at the door."""
    found = {}
    for kind, make in MODELS.items():
        make().save_pretrained(folder / kind, {"steps": 1, "licenses": ["MIT"]}, "# tiny\n")  # type: ignore[attr-defined]
        config = json.loads((folder / kind / "config.json").read_text())
        del config["weights_hash"]
        weights = (folder / kind / "model.safetensors").read_bytes()
        found[kind] = {"config.json": json.dumps(config).encode(), "model.safetensors": weights}
    return found


def _use_checkpoint(files: dict[str, bytes], here: Path) -> None:
    for name, content in files.items():
        (here / name).write_bytes(content)
    use(load_model(checkpoint.load(here), here))


def adapters(folder: Path) -> Case:
    """Adapters, applied to the model that they are for."""
    model = tiny_models.make_model()
    found: list[dict[str, bytes]] = []
    for kind in ("lora", "lokr", ""):
        try:
            one = random_adapter(model, kind, 2, {"<drum>": torch.ones(1, 4)} if not kind else None)
        except (KeyError, ValueError):
            continue  # a kind of another version
        one.save(folder / (kind or "words"))
        found.append({file.name: file.read_bytes() for file in (folder / (kind or "words")).iterdir()})

    def case(draw: Random, here: Path) -> None:
        from audiodiff.models.adapted import apply

        files = dict(draw.choice(found))
        if draw.random() < 0.5:
            files[adapter.CONFIG] = mutate_json(files[adapter.CONFIG], draw)
        else:
            files[adapter.WEIGHTS] = mutate_bytes(files[adapter.WEIGHTS], draw)
            config = json.loads(files[adapter.CONFIG])
            config["weights_hash"] = sha256(files[adapter.WEIGHTS]).hexdigest()
            files[adapter.CONFIG] = json.dumps(config).encode()
        for name, content in files.items():
            (here / name).write_bytes(content)
        use(apply(model, [AppliedAdapter(adapter.inspect(here), draw.choice((0.5, -1.0, 2.0)))]))

    return case


def manifests(folder: Path) -> Case:
    """Manifests of data, line by line."""
    from audiodiff.data.manifest import Clip, Manifest

    clips = [
        Clip(f"corpus/{index}", f"wavs/{index}.wav", 1.0 + index, 16000, "Some text.", "ann", license="MIT")
        for index in range(4)
    ]
    Manifest(tuple(clips), folder).save()
    seed = next(file for file in folder.iterdir() if file.suffix == ".jsonl").read_bytes()

    def case(draw: Random, here: Path) -> None:
        from audiodiff.data.selection import first_minutes

        lines = seed.splitlines()
        at = draw.randrange(len(lines))
        lines[at] = mutate_json(lines[at], draw)
        (here / "manifest.jsonl").write_bytes(
            mutate_bytes(b"\n".join(lines), draw) if draw.random() < 0.1 else b"\n".join(lines)
        )
        loaded = Manifest.load(here)
        loaded.content_hash()
        first_minutes(loaded.with_splits("train"), 1.0)
        for clip in loaded.clips:
            assert not Path(clip.id).is_absolute() and ".." not in Path(clip.id).parts, clip.id  # a name of files

    return case


def tables(folder: Path) -> Case:
    """Tables of transcripts, labels and captions beside recordings."""
    from audiodiff.data.annotation import read_labels
    from audiodiff.data.caption_files import read_captions
    from audiodiff.data.transcripts import Transcripts

    files = {name: Path(f"{name}.wav") for name in ("a", "b", "wavs/c")}
    readers = {
        Transcripts.read: "id|text|speaker\na|Hello there.|ann\nb|More, of it.|bob\nwavs/c|And this.|ann\n",
        read_labels: "file,labels,tempo,key\na,kick snare,120,C\nb,bell,90.5,F# minor\n",
        read_captions: "file,caption\na,A kick drum.\nb,Rain on a roof.\n",
    }

    def case(draw: Random, here: Path) -> None:
        read = draw.choice(list(readers))
        path = here / "metadata.csv"
        path.write_bytes(_encoded(mutate_text(readers[read], draw), draw))
        read(path, files)

    return case


def texts(folder: Path) -> Case:
    """Texts to speak, prompts, pronunciations and pauses."""
    from audiodiff.text.front_end import front_end
    from audiodiff.text.markup import split_pauses
    from audiodiff.text.notation import parse_pronunciation
    from audiodiff.text.prompt import parse_prompt

    english, russian = front_end("en-us"), front_end("ru")
    seeds = (
        "Dr. Smith paid $3.50 on 12/25/2024 at 5:30 p.m.; see http://a.b/c or mail me@x.org.",
        "It is -40 degrees, 3 1/2 km away [pause 0.5] and [[həlˈoʊ]] to Louis XIV!",
        "Привет, это тест номер 5.",
        "a kick drum (loud:1.5) AND rain [0:2]",
    )

    def case(draw: Random, here: Path) -> None:
        text = mutate_text(draw.choice(seeds), draw)
        read = draw.choice(("say", "say", "russian", "prompt", "pauses", "notation"))
        if read in ("say", "russian"):
            front = english if read == "say" else russian
            for sentence in front.sentences(text):
                for clause in front.clauses(sentence):
                    front.phonemize(clause)
        elif read == "prompt":
            parse_prompt(text)
        elif read == "pauses":
            split_pauses(text)
        else:
            parse_pronunciation(text)

    return case


def lines(folder: Path) -> Case:
    """Tables of texts to speak, a clip a row; names that lead out of the folder are refused."""
    from audiodiff.pipelines.options import SpeechOptions
    from audiodiff.rendering.lines import read_lines

    seed = "text,name,seed,speaker,speed,reference\nHello.,one,1,ann,1.5,\nMore.,two/three,,bob,,x.wav\n"

    def case(draw: Random, here: Path) -> None:
        text = seed.replace("one", mutate_name(draw)) if draw.random() < 0.4 else mutate_text(seed, draw)
        path = here / f"x{draw.choice(('.csv', '.csv', '.tsv', '.txt'))}"
        path.write_bytes(_encoded(text, draw))
        for line in read_lines([path]):
            assert (here / "out" / line.name).resolve().is_relative_to(here / "out"), line.name
            line.merge(SpeechOptions())

    return case


def options(folder: Path) -> Case:
    """Options of requests, by hypothesis: any value of any type; thirty a case."""
    import hypothesis
    from hypothesis import strategies

    from audiodiff.options import options_of
    from audiodiff.pipelines.edit_options import EditConfig
    from audiodiff.pipelines.options import GenerationConfig, SpeechOptions, SynthesisOptions, UpsamplingOptions
    from audiodiff.pipelines.restoration_options import RestorationOptions

    kinds = (GenerationConfig, EditConfig, SpeechOptions, SynthesisOptions, UpsamplingOptions, RestorationOptions)
    numbers = strategies.one_of(strategies.integers(), strategies.floats(), strategies.booleans(), strategies.none())
    values = strategies.one_of(
        numbers, strategies.text(), strategies.sampled_from(PIECES), strategies.binary(max_size=9)
    )
    anything = strategies.recursive(
        values, lambda one: strategies.lists(one) | strategies.tuples(one, one), max_leaves=5
    )

    def case(draw: Random, here: Path) -> int:
        kind = draw.choice(kinds)
        names = list(options_of(kind))

        @hypothesis.seed(draw.getrandbits(32))
        @hypothesis.settings(max_examples=30, database=None, deadline=None, phases=[hypothesis.Phase.generate])
        @hypothesis.given(strategies.dictionaries(strategies.sampled_from(names), anything, max_size=3))
        def tried(given: dict) -> None:
            try:
                built = kind(**given)
                replace(built)
            except UserError as error:
                assert "\n" not in str(error) and len(str(error)) < 2500, str(error)[:200]

        tried()
        return 30

    return case


def folders(folder: Path) -> Case:
    """Folders to render, with odd names, files and sidecars: nothing is written outside of the output folder."""
    from audiodiff.pipelines.options import SynthesisOptions
    from audiodiff.pipelines.vocoder import Vocoder
    from audiodiff.rendering import render
    from audiodiff.rendering.inputs import find_inputs
    from audiodiff.rendering.options import FileOptions

    vocoder = Vocoder(tiny_models.make_model())
    audio_io.write(folder / "a.wav", Audio(torch.sin(torch.arange(1500) * 0.1) * 0.3, 16000))
    sound = (folder / "a.wav").read_bytes()
    save_mel(folder / "m.npy", vocoder.mel(Audio(torch.randn(1500) * 0.1, 16000)), vocoder.spec)
    mel, side = (folder / "m.npy").read_bytes(), spec_path(folder / "m.npy").read_bytes()
    shutil.rmtree(folder / "out", ignore_errors=True)

    def case(draw: Random, here: Path) -> None:
        (here / "in").mkdir()
        errors: list[UserError] = []
        for index in range(2):
            path = here / "in" / (mutate_name(draw) if draw.random() < 0.5 else str(index))
            try:
                if not path.parent.resolve().is_relative_to(here / "in") or path.name in ("", ".", ".."):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                if draw.random() < 0.5:
                    path.with_name(path.name + ".wav").write_bytes(mutate_bytes(sound, draw))
                else:
                    path.with_name(path.name + ".npy").write_bytes(
                        mutate_bytes(mel, draw) if draw.random() < 0.5 else mel
                    )
                    spec_path(path.with_name(path.name + ".npy")).write_bytes(side)
            except (OSError, ValueError):
                continue  # no file can have this name
        render_options = SynthesisOptions(steps=1, consistency=0)
        for again in range(2):
            found = find_inputs([here / "in"], here / "out", errors.append)
            render.render(vocoder, found, here / "out", render_options, errors.append, FileOptions(), quiet=True)
            for written in (here / "out").glob("**/*.json") if not again else ():
                written.write_bytes(mutate_json(written.read_bytes(), draw))
        for error in errors:
            assert "\n" not in str(error), str(error)
        assert {one.name for one in here.iterdir()} <= {"in", "out"}, sorted(here.iterdir())

    return case


def names(folder: Path) -> Case:
    """Names of files and folders that are given in place of good ones."""
    from audiodiff.data.manifest import Manifest
    from audiodiff.models import onnx_export

    users = (
        *(checkpoint.load, adapter.load, onnx_export.read, Manifest.load),
        *(audio_io.read, audio_io.probe, load_mel, read_array, read_metadata),
    )

    def case(draw: Random, here: Path) -> None:
        name = mutate_name(draw) + draw.choice(("", "", ".wav", ".npy", ".jsonl"))
        draw.choice(users)(draw.choice((str, Path))(name))

    return case


def exports(folder: Path) -> Case:
    """Weights of exported models and their configs, up to the graph, which is ONNX Runtime's to read."""
    from audiodiff.models import onnx_export
    from audiodiff.models.vocoder_model import VocoderModel

    seed, graph, arrays = export_parts(tiny_models.make_model())

    def case(draw: Random, here: Path) -> None:
        weights = mutate_bytes(arrays, draw) if draw.random() < 0.5 else arrays
        files = {onnx_export.GRAPH: sha256(graph).hexdigest(), onnx_export.ARRAYS: sha256(weights).hexdigest()}
        config = json.dumps(seed | {"files": files}).encode()
        (here / onnx_export.CONFIG).write_bytes(mutate_json(config, draw))
        (here / onnx_export.GRAPH).write_bytes(graph)
        (here / onnx_export.ARRAYS).write_bytes(weights)
        onnx_export.read(here).model(VocoderModel)

    return case


def _encoded(text: str, draw: Random) -> bytes:
    return text.encode(
        draw.choice(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1")), "replace" if draw.random() < 0.5 else "ignore"
    )


TARGETS: dict[str, Callable[[Path], Case]] = {
    function.__name__: function
    for function in (
        *(audio, mels, checkpoints, configs, adapters, exports, graphs, shards),
        *(names, manifests, tables, texts, lines, lexicons, options, overrides, folders, commands, endpoints),
    )
}
