"""Model folders from anywhere: whatever they hold is a working model or one line, in little time and memory."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

from audiodiff.audio.mel import PRESETS, MelSpec
from audiodiff.cli import main
from audiodiff.errors import UserError
from audiodiff.models import checkpoint, model_folders
from audiodiff.models.codec import Codec
from audiodiff.models.construction import construct
from audiodiff.models.old_names import update_model
from audiodiff.nn.frontends.frontend import IdentityFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.adapter_predictor import AdapterPredictor
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.vocoder import Vocoder

SCRIPT = Path(__file__).with_name("mutated_configs.py")
KINDS = {
    "speech-16k": Vocoder,
    "drums": AudioGenerator,
    "music": AudioGenerator,
    "audio-text": AudioTextEmbedder,
    "sounds-hypernetwork": AdapterPredictor,
}
MODELS = [name for name in KINDS if name in checkpoint.shipped()]


def failures(folder, name: str, first: int, count: int) -> list[str]:
    arguments = [sys.executable, SCRIPT, name, str(first), str(count), folder]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60 + count)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory and time by Linux's means")
@pytest.mark.parametrize("name", MODELS)
def test_a_hundred_mutated_configs(tmp_path, name):
    assert failures(tmp_path, name, 0, 100) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory and time by Linux's means")
@pytest.mark.parametrize("name", MODELS)
def test_thousands_of_mutated_configs(tmp_path, name):
    assert failures(tmp_path, name, 100, 1500) == []


@pytest.fixture(params=MODELS)
def shipped(request, tmp_path):
    """A copy of a shipped model, and how it is loaded."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in model_folders.SHIPPED.joinpath(request.param).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder, KINDS[request.param]


def edit(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def refusal(folder, load) -> str:
    with pytest.raises(UserError) as caught:
        load(folder)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 500 and str(folder) in line
    return line


class Allocations(TorchFunctionMode):
    """Numbers that parameters were allocated with, in memory and on the meta device."""

    def __init__(self):
        super().__init__()
        self.real, self.planned = [], []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        if function is torch.empty:
            (self.planned if made.is_meta else self.real).append(made.numel())
        return made


@pytest.mark.parametrize(
    ("field", "value"),
    [("blocks", [10**9]), ("blocks", [1, 10**9]), ("channels", [10**9, 10**9]), ("embedding", 10**12)],
)
def test_a_network_larger_than_its_weights_takes_no_memory(shipped, field, value):
    folder, kind = shipped
    edit(folder, lambda config: config["model"]["network"].update({field: value, "channels": value} | {field: value}))
    with Allocations() as allocations:
        refusal(folder, kind.from_pretrained)
    assert not allocations.real and len(allocations.planned) < 1000


def test_loading_takes_no_memory_for_initial_values(shipped):
    folder, kind = shipped
    before = torch.random.get_rng_state()
    with Allocations() as allocations:
        found = checkpoint.load(folder)
    assert not allocations.real and torch.equal(torch.random.get_rng_state(), before)
    assert all(parameter.is_meta for parameter in found.arguments["network"].parameters())
    model = kind.from_pretrained(folder).model
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_a_network_can_still_be_initialized(shipped):
    folder, kind = shipped
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = json.loads((folder / "config.json").read_text())
        _, described = update_model(config["type"], config["model"])
        expected = {name: checkpoint.build(value) for name, value in described.items()}["network"]
    found = kind.untrained(folder, seed=3).model.network
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_by_all_verbs(shipped, capsys, tmp_path, monkeypatch, value):
    folder, kind = shipped
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[len(weights) // 2]
    weights[name].flatten()[0] = value
    save_file(weights, folder / "model.safetensors")
    edit(folder, lambda config: config.pop("weights_hash", None))
    assert f"weight {name} has NaN or infinite" in refusal(folder, kind.from_pretrained)
    verbs = [["info", str(folder)], ["generate", "--model", str(folder), "--out", str(tmp_path / "out")]]
    if kind is Vocoder:  # a generator renders nothing, whatever its weights
        verbs += [["render", str(folder), "--model", str(folder), "--out", str(tmp_path / "out")]]
    for arguments in verbs:
        monkeypatch.setattr(sys, "argv", ["audiodiff", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
        assert len(lines) == 1 and "has NaN or infinite values" in lines[0]


def test_large_weights_that_are_finite_are_not_refused(vocoder, tmp_path):
    vocoder.model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["unet.conv_out.weight"].fill_(3e38)  # whose sum is infinite
    save_file(weights, tmp_path / "model.safetensors")
    edit(tmp_path, lambda config: config.pop("weights_hash", None))
    with pytest.raises(UserError, match="not finite"):
        Vocoder.from_pretrained(tmp_path).generate(torch.zeros(80, 4), 2)


def test_weights_of_integers_are_refused(shipped):
    folder, kind = shipped
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name].int()}, folder / "model.safetensors")
    edit(folder, lambda config: config.pop("weights_hash", None))
    assert f"weight {name} is torch.int32" in refusal(folder, kind.from_pretrained)


def setting(**values) -> dict:
    return {"type": "setting", **values}


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("prior", None, "prior is None, not Prior"),
        ("mel_spec", None, "mel_spec is None, not MelSpec"),
        ("settings", [setting(consistency="16")], "consistency is '16', not int"),
        ("settings", [setting(consistency=10**9)], "consistency 1000000000: must be 0 to 1000"),
        ("settings", [setting(consistency=-1)], "consistency is -1, not int at least 0"),
        ("settings", [setting(sampler="magic")], "sampler 'magic': is unknown"),
        ("settings", [setting(steps=10**9)], "steps 1000000000: must be 1 to 10000"),
        ("settings", [setting(name="")], "setting '': must be letters"),
        ("settings", [setting(), setting()], "setting default: is a duplicate"),
        ("settings", [], "settings: are empty"),
        ("settings", setting(), "settings is .*, not list"),
        ("validated", [1, 10**9], "is not a range of steps"),
        ("validated", [1.0, 4], "validated is .*, not list or null"),
        ("grids", {"type": "v"}, "grids is .*, not list"),
        ("objective", {"type": "cosine"}, "objective is .*, not Objective"),
        ("bridge", "1", "bridge is '1', not float above 0 or null"),
        ("network", [], "network is .*, not Network"),
        ("nothing", 1, "nothing"),
    ],
)
def test_wrong_types_and_ranges_are_refused_at_load(tmp_path, vocoder, place, value, words):
    vocoder.model.save_pretrained(tmp_path)
    edit(tmp_path, lambda config: config["model"].update({place: value}))
    assert re.search(words, refusal(tmp_path, Vocoder.from_pretrained))


@pytest.mark.parametrize("training", [[], "x", 5, None, {"codec": 5}, {"started_from": {"codec": []}}, {"licenses": 1}])
def test_a_training_record_of_another_type_is_refused(tmp_path, vocoder, training):
    vocoder.model.save_pretrained(tmp_path)
    edit(tmp_path, lambda config: config.update(training=training))
    assert "is not a model config (training" in refusal(tmp_path, Vocoder.from_pretrained)


@pytest.mark.parametrize("change", [{"network": 5}, {"network": None}, {"autoencoder": "x"}, {"sample_rate": "x"}])
def test_a_latent_models_codec_is_checked_as_well(make_latent_music, tmp_path, change):
    make_latent_music().save_pretrained(tmp_path)
    edit(tmp_path, lambda config: config["model"].update(change))
    refusal(tmp_path, Codec.from_pretrained)
    refusal(tmp_path, AudioGenerator.from_pretrained)


@pytest.mark.parametrize("name", ["n_fft", "n_mels", "hop_length", "win_length", "sample_rate"])
@pytest.mark.parametrize("value", [10**9, 2**17, 0, -1, 1024.0, None])
def test_a_mel_spec_has_bounds(name, value):
    fields = PRESETS["speech_16k"].to_dict() | {name: value}
    if value == 2**17 and name == "sample_rate":
        MelSpec(**fields)
        return
    with pytest.raises(UserError, match=f"mel spec, {name}"):
        MelSpec(**fields)


def test_a_component_of_another_mel_is_refused(vocoder, tmp_path):
    vocoder.model.save_pretrained(tmp_path)
    edit(tmp_path, lambda config: config["model"]["prior"]["spec"].update(f_max=7000.0))
    assert "prior: different mel spec: f_max: 7000.0 != 8000.0" in refusal(tmp_path, Vocoder.from_pretrained)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": [8.0]}, r"channels is \[8.0\], not list"),
        ({"channels": 8}, "channels is 8, not list"),
        ({"embedding": 16.0}, "embedding is 16.0, not int"),
        ({"gradient_checkpointing": 1}, "gradient_checkpointing is 1, not bool"),
        ({"frontend": None}, "frontend is None, not Frontend"),
        ({"condition_hop": 0}, "condition_hop is 0, not int above 0"),
        ({"channels": [8, 0]}, r"channels is \[8, 0\], not list"),
    ],
)
def test_constructors_are_called_with_their_types(arguments, words):
    fitting = {
        "frontend": IdentityFrontend(1),
        "channels": [8],
        "blocks": [1],
        "embedding": 16,
        "attention_levels": False,
    }
    assert construct(Network, fitting).channels == [8]
    with pytest.raises(TypeError, match=words):
        construct(Network, fitting | arguments)


@pytest.mark.parametrize("depth", [900, 100_000])
@pytest.mark.parametrize("verb", ["info", "evaluate", "generate", "render", "fit-grid"])
def test_a_deep_config_is_one_line_for_every_verb(tmp_path, monkeypatch, capsys, verb, depth):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("[" * depth + "]" * depth)
    (model / "model.safetensors").write_bytes(b"")
    (tmp_path / "manifest.jsonl").write_text("")
    options = {
        "info": [model],
        "evaluate": ["--model", model, "--data", tmp_path / "manifest.jsonl", "--report", tmp_path / "report.md"],
        "generate": ["--model", model, "--out", tmp_path / "out"],
        "render": [tmp_path, "--model", model, "--out", tmp_path / "out"],
        "fit-grid": ["4", "--model", model, "--data", tmp_path / "manifest.jsonl"],
    }
    monkeypatch.setattr(sys, "argv", ["audiodiff", verb, *map(str, options[verb])])
    with pytest.raises(SystemExit) as ended:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1 and len(lines) == 1 and lines[0].startswith("error: ") and str(model) in lines[0]


def test_a_config_of_many_megabytes_is_not_read(tmp_path, vocoder):
    vocoder.model.save_pretrained(tmp_path)
    edit(tmp_path, lambda config: config["training"].update(note="x" * 2**24))
    assert "is not a model config" in refusal(tmp_path, Vocoder.from_pretrained)
    assert checkpoint.type_of(tmp_path) == ""
