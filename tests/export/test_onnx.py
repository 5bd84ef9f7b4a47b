"""Export to ONNX: the folder, its errors, and that what it computes is what the model computes."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from exported_models import placeholder
from onnx import helper
from tiny_models import make_acoustic, make_model, sound

from audiodiff import extras
from audiodiff.audio.io import read, write
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import save_mel
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.bridge import Bridge
from audiodiff.errors import UserError
from audiodiff.export import graph, graph_weights
from audiodiff.models import onnx_export
from audiodiff.models.onnx_network import OnnxNetwork
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig, SpeechOptions
from audiodiff.pipelines.restorer import Restorer
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.text.front_end import Utterance

ROOT = Path(__file__).parents[2]
BLOCKED = {"torch", "audiodiff", "scipy", "librosa", "soundfile", "safetensors", "onnx"}


def test_folder_holds_what_runs_the_model(exported, command):
    folder = exported(make_model(), "float16")
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "arrays.safetensors", "export.json", "network.onnx", "run.py"}
    found = onnx_export.read(folder)
    assert found.config["mel_spec"]["n_mels"] == 80
    assert found.config["graph"]["inputs"].keys() == {"x", "log_snr", "samples", "frames"}
    assert found.config["training"] == {"steps": 7}
    card = (folder / "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith(("| float", "| int8"))]
    assert [row.split(" | ")[0] for row in rows] == [
        "| float32, PyTorch",
        "| float32, ONNX",
        "| float16, ONNX (this folder)",
        "| int8, ONNX",
    ]
    assert "512" in card and "`frames`" in card
    status, output, _ = command("info", folder)
    assert status == 0
    assert "vocoder, exported to ONNX" in output and "frames (batch, 80" in output and found.digest in output


@pytest.mark.parametrize("conditioned", [False, True])
def test_pipeline_equals_torch_alone_and_in_batches(exported, conditioned):
    spec = PRESETS["speech_16k"]
    torch.manual_seed(0)
    excitation = HarmonicExcitation(PitchNetwork(spec.n_mels, channels=8, blocks=1), spec)
    model = make_model(conditioners=[excitation] if conditioned else [])
    folder = exported(model)
    vocoder, other = (
        Vocoder.from_pretrained(folder.parent / "model"),
        Vocoder.from_pretrained(folder, backend="onnx"),
    )
    mels = [vocoder.mel(sound(samples)) for samples in (2500, 1000)]
    for mel in (mels[0], mels):
        expected, found = vocoder.generate(mel, 3, seed=2), other.generate(mel, 3, seed=2)
        for a, b in zip(*([audio] if mel is mels[0] else audio for audio in (expected, found)), strict=True):
            assert (a.samples - b.samples).abs().max() < 1e-4 * a.samples.abs().max()
    streamed = torch.cat([piece.samples for piece in other.stream(iter(mels[:1]), 3, seed=2, chunk=4)])
    assert torch.allclose(streamed, other.generate(mels[0], 3, seed=2).samples, atol=1e-4)


@pytest.mark.parametrize(("latents", "beats"), [(False, False), (True, False), (True, True)])
def test_generator_equals_torch_with_guidance_and_its_codec(exported, latents, beats, make_music, make_latent_music):
    folder = exported(make_latent_music(beats=beats) if latents else make_music())
    assert not (folder / "run.py").exists()
    generators = (
        AudioGenerator.from_pretrained(folder.parent / "model"),
        AudioGenerator.from_pretrained(folder, backend="onnx"),
    )
    conditions = {"tempo": 500} if beats else {} if latents else {"labels": ["kick"]}
    wishes = {"conditions": conditions, "guidance_scale": 2} if conditions else {}
    expected, found = (
        generator.generate(GenerationConfig(steps=2, seconds=0.11, **wishes), count=2).samples
        for generator in generators
    )
    assert (expected - found).abs().max() < 1e-4 * expected.abs().max()


def test_voice_equals_torch(exported):
    folder = exported(make_acoustic())
    voices = (
        SpeechSynthesizer.from_pretrained(folder.parent / "model"),
        SpeechSynthesizer.from_pretrained(folder, backend="onnx"),
    )
    utterance = Utterance.from_phonemes("hɛloʊ wɜld")
    expected, found = (voice.mel(utterance, SpeechOptions(steps=2, guidance_scale=2)) for voice in voices)
    assert (expected - found).abs().max() < 1e-4 * expected.abs().max()


def test_upsampler_equals_torch(exported, make_upsampler):
    folder = exported(make_upsampler())
    upsamplers = (
        Upsampler.from_pretrained(folder.parent / "model"),
        Upsampler.from_pretrained(folder, backend="onnx"),
    )
    recording = sound(3000, 8000)
    expected, found = (upsampler.upsample(recording, seed=2).samples for upsampler in upsamplers)
    assert (expected - found).abs().max() < 1e-4 * expected.abs().max()


def test_restorer_equals_torch(exported, make_restorer):
    folder = exported(make_restorer())
    restorers = (Restorer.from_pretrained(folder.parent / "model"), Restorer.from_pretrained(folder, backend="onnx"))
    recording = sound(4000)
    expected, found = (one.restore(recording, denoise=True, fill=["0.1:0.11"], seed=2).samples for one in restorers)
    assert (expected - found).abs().max() < 1e-4 * expected.abs().max()


def test_an_export_renders_as_the_model_does(exported, command, tmp_path):
    model = make_model()
    folder = exported(model)
    mel = Vocoder.from_pretrained(folder.parent / "model").mel(sound(2000))
    save_mel(tmp_path / "one.safetensors", mel, model.mel_spec)
    for source, out in ((folder, "onnx"), (folder.parent / "model", "torch")):
        words = ("--model", source, "--out", tmp_path / out, "--steps", 2, "--device", "cpu")
        status, output, errors = command("render", tmp_path / "one.safetensors", *words)
        assert status == 0 and output.startswith("1 rendered"), errors
    ours, theirs = (soundfile.read(tmp_path / out / "one.wav")[0] for out in ("onnx", "torch"))
    assert np.abs(ours - theirs).max() < 1e-4
    sidecar = json.loads(next((tmp_path / "onnx").glob("one*.json")).read_text())
    assert sidecar["model_hash"] == onnx_export.read(folder).digest
    status, _, errors = command(
        "render", tmp_path / "one.safetensors", *words[2:], "--model", folder, "--device", "cuda"
    )
    assert status == 1 and errors.startswith("error: device cuda") and len(errors.splitlines()) == 1


def test_weights_in_half_precision_are_those_weights_rounded(exported):
    model = make_model()
    stored = graph_weights.to_half(graph_of(exported, model), {"network.weight"})
    (weight,) = (tensor for tensor in stored.graph.initializer if tensor.name == "network.weight_float16")
    assert weight.data_type == 10  # FLOAT16
    assert stored.graph.node[0].op_type == "Cast" and list(stored.graph.node[0].output) == ["network.weight"]


def graph_of(exported, model):
    import onnx

    return onnx.load(exported(model) / "network.onnx")


def test_a_weight_beyond_half_precision_is_named(exported):
    import onnx

    proto = graph_of(exported, make_model())
    proto.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.full((1, 1, 1), 1e6, np.float32), "network.weight")
    )
    with pytest.raises(UserError, match=r"weight network.weight: has values up to 1e\+06"):
        graph_weights.to_half(proto, {"network.weight"})


def test_errors_are_one_line(exported, command, tmp_path, monkeypatch):
    folder = exported(make_model())
    for words, message in [
        (["export", "speech-16k", "--format", "onxx", "--out", tmp_path / "x"], "did you mean onnx?"),
        (["export", "speech-16k", "--dtype", "float8", "--out", tmp_path / "x"], "did you mean float"),
        (["export", tmp_path / "nothing", "--out", tmp_path / "x"], "no such model folder"),
        (["export", folder.parent / "model", "--out", folder], "add --overwrite"),
        (["export", folder.parent / "model", "--out", folder.parent / "model"], "choose a new folder"),
        (["export", folder, "--out", tmp_path / "x"], 'backend="onnx"'),
    ]:
        status, _, error = command(*words)
        assert status == 1 and error.count("\n") == 1 and message in error, error
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxscript" else name)
    status, _, error = command("export", "speech-16k", "--out", tmp_path / "x")
    assert status == 1 and "[onnx]: needs onnxscript" in error and "pip install onnxscript" in error


def test_folders_that_cannot_be_loaded_are_named(exported, tmp_path):
    folder = exported(make_model())
    with pytest.raises(UserError, match="not an exported model; write one with: audiodiff export"):
        Vocoder.from_pretrained(folder.parent / "model", backend="onnx")
    with pytest.raises(UserError, match="no such folder"):
        Vocoder.from_pretrained(tmp_path / "nothing", backend="onnx")
    with pytest.raises(UserError, match="unknown; choose one of torch, onnx"):
        Vocoder.from_pretrained(folder, backend="tensorrt")
    with pytest.raises(UserError, match="runs on the CPU in float32"):
        Vocoder.from_pretrained(folder, "cuda", backend="onnx")
    with pytest.raises(UserError, match=r'is an exported model.*backend="onnx"'):
        Vocoder.from_pretrained(folder)
    config = json.loads((folder / "export.json").read_text())
    for changed, message in [
        (config | {"version": 1}, "version 1 is not supported"),
        (config | {"type": "audio"}, "type 'audio', not 'vocoder'"),
        (config | {"model": {}}, "is not that of a model"),
        ({}, "is not that of an exported model"),
    ]:
        (folder / "export.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=message):
            Vocoder.from_pretrained(folder, backend="onnx")
    (folder / "export.json").write_text(json.dumps(config))
    (folder / "arrays.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"arrays.safetensors: does not match export.json"):
        Vocoder.from_pretrained(folder, backend="onnx")


def test_larger_models_than_the_weights_take_no_memory(exported):
    folder = exported(make_model())
    config = json.loads((folder / "export.json").read_text())
    config["model"]["network"]["channels"] = [2**20, 2**20]
    (folder / "export.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="larger than its weights"):
        Vocoder.from_pretrained(folder, backend="onnx")


def test_a_damaged_graph_and_lack_of_memory_are_user_errors(monkeypatch):
    network = make_model().network
    with pytest.raises(UserError, match=r"network.onnx: cannot be loaded"):
        OnnxNetwork(b"no graph", network, 512)


@pytest.mark.parametrize("name", ["samqles", "fram\x00s", "x" * 500])
def test_a_graph_with_an_unknown_input_is_one_line(name):
    model = make_model()
    built = placeholder(model)
    built.graph.input.append(helper.make_tensor_value_info(name, 1, ["batch", None]))
    with pytest.raises(UserError, match=r"network.onnx: has inputs") as error:
        OnnxNetwork(built.SerializeToString(), model.network, 512)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_a_graph_that_cannot_be_evaluated_is_one_line():
    model = make_model()
    built = placeholder(model)
    for weight in built.graph.initializer:
        if weight.name == "network.weight":
            weight.CopyFrom(helper.make_tensor("network.weight", 1, [3, 7, 1], [0.5] * 21))
    del built.graph.output[0].type.tensor_type.shape.dim[:]
    with pytest.raises(UserError, match=r"network.onnx: cannot be (evaluated|loaded)") as error:
        network = OnnxNetwork(built.SerializeToString(), model.network, 1)
        network(torch.zeros(1, 1, 512), torch.zeros(1), Condition(frames=torch.zeros(1, model.network.condition, 2)))
    assert "\n" not in str(error.value)


# ---- through the exporter, half a minute for each model ----


def model_around(frontend, condition=0, hop=1, levels=2, bridge=False, embedding=0, **options):
    """A model that is no more than its random network."""
    network = Network(frontend, condition, hop, [4] * levels, [0] * levels, 1, 4, **options).eval()
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.3)
    denoiser = SimpleNamespace(network=Bridge(network) if bridge else network)
    embedded = [SimpleNamespace(embedding=embedding)]
    return SimpleNamespace(network=network, denoiser=denoiser, built_in=[], conditioners=embedded)


def evaluate(model, clips, blocks, shorter):
    """The largest difference of the graph's prediction from the network's, of clips of different lengths."""
    network = OnnxNetwork(
        graph.export_graph(model).SerializeToString(), model.network, graph.multiple_of(model.network)
    )
    worst = 0.0
    for count, length in ((clips, blocks), (1, 1), (3, 2 * blocks + 1)):
        inputs = graph.example(model, count, length)
        inputs["samples"] = inputs["samples"] - shorter * torch.arange(count)
        x, log_snr, condition = inputs.pop("x"), inputs.pop("log_snr"), Condition(**inputs)
        with torch.inference_mode():
            expected, found = model.denoiser.network(x, log_snr, condition), network(x, log_snr, condition)
        worst = max(worst, float((expected - found).abs().max() / expected.abs().max()))
    return worst


KINDS = {
    "strided": lambda: model_around(StridedFrontend(1, 4, 4), 2, 4),
    "bridge": lambda: model_around(IdentityFrontend(1, 1), levels=1, bridge=True),
    "tokens": lambda: model_around(IdentityFrontend(2), token_channels=3, attention_levels=1),
    "folded": lambda: model_around(StftFrontend(1, 64, 16), block="convnext", fold=2),
    "global embedding": lambda: model_around(IdentityFrontend(2), 2, levels=1, embedding=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_graph_of_every_kind_of_network(kind):
    model = KINDS[kind]()
    assert evaluate(model, 2, 3, model.network.condition_hop) < 1e-5


ALONE = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
sys.argv = {words}
runpy.run_path({words}[0], run_name="__main__")
"""


@pytest.mark.slow
def test_the_page_runs(tmp_path):
    """docs/onnx.md from its first command to its last; `run.py` where torch and this package cannot be imported."""

    def run(script):
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    page = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    vocoder, recording = Vocoder.from_pretrained("speech-16k"), sound(20000)
    write(tmp_path / "speech.wav", recording)
    mel = vocoder.mel(read(tmp_path / "speech.wav"))
    save_mel(tmp_path / "mel.npy", mel, vocoder.spec)
    expected = vocoder.generate(mel, 1, seed=0).samples.numpy()
    export, alone = (shlex.split(line) for line in page.splitlines() if line.startswith(("audiodiff ", "python ")))
    run(f"import sys; sys.argv = {export}; from audiodiff.cli import main; main()")
    run(ALONE.format(blocked=BLOCKED, words=alone[1:]))
    written, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.abs(written - expected.clip(-1, 1)).max() < 1e-4 * np.abs(expected).max()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    run(code + "import numpy; numpy.save('onnx.npy', audio.samples.numpy())")
    assert np.abs(np.load(tmp_path / "onnx.npy") - expected).max() < 1e-4 * np.abs(expected).max()
