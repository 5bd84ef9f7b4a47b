"""Checkpoint folders: what goes in comes out, and what is damaged is said to be so in one line."""

import itertools
import json
import os
import threading
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import as_loaded

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior, StandardPrior
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Score, V
from audiodiff.diffusion.schedules.adapted import ShiftedLogSNR
from audiodiff.diffusion.schedules.discrete import DiscreteSchedule
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.diffusion.weighting import P2, SNR, MinSNR, SigmoidWeighting, VariationalBound
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder

SPEC = PRESETS["speech_16k"]
FRONTENDS = [
    StftFrontend(1, 512, 128),
    StridedFrontend(1, features=8, stride=32),
    IdentityFrontend(1),
]
OBJECTIVES = [kind(weighting) for kind in (Epsilon, X0, V) for weighting in (None, MinSNR(2.5))]
OBJECTIVES += [Score(SNR()), Flow(P2(2.0, 0.5)), Flow(SigmoidWeighting(1.0)), V(VariationalBound())]
SCHEDULES = [Cosine(), LinearBeta(0.2, 18.0), DiscreteSchedule([0.1, 0.2]), ShiftedLogSNR(Cosine(), -1.0)]
PRIORS = [StandardPrior(), MelPrior(SPEC, 3e-3)]


# Parts are written down one by one: each of them once, beside any of the others.
ROUNDS = max(map(len, (FRONTENDS, OBJECTIVES, SCHEDULES, PRIORS)))


@pytest.mark.parametrize(
    ("frontend", "objective", "schedule", "prior"),
    list(itertools.islice(zip(*map(itertools.cycle, (FRONTENDS, OBJECTIVES, SCHEDULES, PRIORS)), strict=True), ROUNDS)),
    ids=lambda part: type(part).__name__,
)
def test_every_part_is_written_down_and_built_again(frontend, objective, schedule, prior):
    network = Network(
        frontend, 80, 256, channels=[8], blocks=[1], dilation_cycle=2, embedding=16, attention_levels=True
    )
    parts = {"network": network, "objective": objective, "schedule": schedule, "prior": prior, "mel_spec": SPEC}
    written = json.loads(json.dumps({name: checkpoint.describe(part) for name, part in parts.items()}))
    built = {name: checkpoint.build(part) for name, part in written.items()}
    assert {name: checkpoint.describe(part) for name, part in built.items()} == written
    assert [type(part) for part in built.values()] == [type(part) for part in parts.values()]
    assert type(built["network"].frontend) is type(frontend)
    assert built["mel_spec"] == SPEC
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert {name: tensor.shape for name, tensor in built["network"].state_dict().items()} == shapes


def test_a_learned_schedule_keeps_what_it_learned(tiny, tmp_path):
    schedule = LearnedSchedule(sigmoids=4)
    torch.nn.init.constant_(schedule.ends, 3.0)
    with torch.no_grad():
        schedule.ends[1] = -4.0
    model = tiny(schedule=schedule)
    model.save_pretrained(tmp_path / "model")
    found = VocoderModel.from_pretrained(tmp_path / "model")
    assert [found.schedule.level(t).log_snr for t in (0.0, 1.0)] == pytest.approx([3.0, -4.0])
    assert set(found.denoiser.state_dict()) == set(model.denoiser.state_dict())


def test_a_learned_variance_needs_two_answers(tiny):
    with pytest.raises(UserError, match=r"network: .*1 outputs.*; set network.num_outputs=2"):
        tiny(objective=LearnedVariance(V()))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{type(o).__name__}-{o.weighting is not None}")
@pytest.mark.parametrize("frontend", ["stft", "strided"])
def test_a_round_trip_makes_the_same_audio(tiny, recording, tmp_path, frontend, objective):
    model = tiny(frontend, objective, schedule=LinearBeta(0.2, 18.0), sampler="ddpm", consistency=2)
    model.save_pretrained(tmp_path / "model", training={"steps": 3}, card="# card\n")
    before, after = Vocoder(as_loaded(model)), Vocoder.from_pretrained(tmp_path / "model")
    mel = before.mel(recording(3000))
    assert torch.equal(before.generate(mel, 3, seed=4).samples, after.generate(mel, 3, seed=4).samples)
    assert after.training == {"steps": 3}
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_the_hash_tells_weights_and_arguments_apart(tiny, tmp_path):
    model = tiny()
    hashes = []
    for i in range(3):
        model.save_pretrained(tmp_path / str(i))
        hashes.append(checkpoint.load(tmp_path / str(i)).digest)
        if i == 1:
            with torch.no_grad():
                model.network.unet.conv_out.bias[0] += 1e-3
    assert hashes[0] == hashes[1] != hashes[2]
    config = tmp_path / "0" / "config.json"
    config.write_text(config.read_text().replace('"consistency": 4', '"consistency": 5'))
    assert checkpoint.load(tmp_path / "0").digest != hashes[0]


def test_what_has_no_name_is_not_written():
    with pytest.raises(ValueError, match="dict has no name"):
        checkpoint.describe({"a": 1})


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"type": "nope"}, "unknown type 'nope'"),
        ({"no": "type"}, "unknown type None"),
        ({"type": "min_snr", "gama": 3}, "min_snr: .*gama"),
        ({"type": "v", "weighting": {"type": "os.system"}}, "unknown type 'os.system'"),
    ],
)
def test_only_what_is_in_the_table_is_built(described, words):
    with pytest.raises(ValueError, match=words):
        checkpoint.build(described)


@pytest.fixture
def copy(model_folder, tmp_path):
    for file in model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def refusal(folder) -> str:
    with pytest.raises(UserError) as caught:
        Vocoder.from_pretrained(folder)
    line = str(caught.value)
    assert "\n" not in line and str(folder) in line
    return line


def test_folders_that_are_not_models(copy):
    assert "no such model folder" in refusal(copy / "nowhere")
    (copy / "model.safetensors").rename(copy / "elsewhere")
    assert "model.safetensors: is missing" in refusal(copy)
    (copy / "config.json").unlink()
    assert "config.json: is missing" in refusal(copy)


@pytest.mark.parametrize("left", [0, 4, 1000, -1])
def test_truncated_weights(copy, left):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    assert "is not a complete safetensors file" in refusal(copy)


@pytest.mark.parametrize("kept", ["config.json", "model.safetensors"])
def test_a_config_and_weights_of_two_exports_are_refused(copy, tiny, kept):
    before = (copy / kept).read_bytes()
    other = tiny()
    torch.nn.init.constant_(other.network.unet.conv_out.bias, 1.0)
    other.save_pretrained(copy)
    (copy / kept).write_bytes(before)
    assert "model.safetensors: does not match config.json" in refusal(copy)


def test_weights_with_a_damaged_block_are_refused(copy):
    weights = copy / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-4096:] = bytes(4096)
    weights.write_bytes(damaged)
    assert "does not match config.json" in refusal(copy)


def test_a_model_of_an_older_version_names_no_weights_and_loads(copy):
    edit(copy, lambda config: config.pop("weights_hash"))
    assert Vocoder.from_pretrained(copy).model.TYPE == "vocoder"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_a_disk_that_refuses_one_file_leaves_the_whole_old_model(copy, tiny, name, monkeypatch):
    before, replace, write = checkpoint.load(copy).digest, os.replace, type(copy).write_bytes

    def refuse(source, target):
        if target == copy / name and name == "model.safetensors":  # the first to be renamed
            raise OSError(28, "No space left on device")
        replace(source, target)

    def write_bytes(path, data):
        if name != "model.safetensors" and path.suffix == (copy / name).suffix:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(type(copy), "write_bytes", write_bytes)
    with pytest.raises(UserError, match="No space left on device"):
        tiny(consistency=3).save_pretrained(copy)
    assert checkpoint.load(copy).digest == before
    assert sorted(file.name for file in copy.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_readers_of_a_folder_that_is_written_again_get_one_of_its_models(tiny, tmp_path):
    models = [tiny(consistency=count) for count in (2, 3)]
    for count, model in enumerate(models, 2):
        torch.nn.init.constant_(model.network.unet.conv_out.bias, count)
    models[0].save_pretrained(tmp_path)
    ended = threading.Event()

    def write():
        while not ended.is_set():
            for model in models:
                model.save_pretrained(tmp_path)
                time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(40):
            found = VocoderModel.from_pretrained(tmp_path)
            assert found.network.unet.conv_out.bias[0].item() == found.consistency
    finally:
        ended.set()
        writer.join()


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_a_pickle_is_never_run(copy):
    torch.save({"network": Bomb()}, copy / "model.safetensors")
    assert "pickles are not supported" in refusal(copy)


def test_weights_of_another_network(copy):
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"embedding": 16', '"embedding": 24'))
    assert "config and weights do not match" in refusal(copy)


def edit(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_what_a_later_version_wrote(copy):
    edit(copy, lambda config: config.update(version=2))
    assert "update audiodiff" in refusal(copy)


def test_a_model_of_something_else(copy):
    edit(copy, lambda config: config.update(type="music"))
    assert "'audio', not 'vocoder'" in refusal(copy)


def test_a_mel_spec_that_cannot_be_names_file_and_field(copy):
    edit(copy, lambda config: config["model"]["mel_spec"].update(f_max=1e9))
    line = refusal(copy)
    assert "config.json" in line and "f_max" in line


def test_a_network_for_other_mels_names_the_folder(copy):
    edit(copy, lambda config: config["model"]["network"].update(condition_hop=300))
    assert "300" in refusal(copy)


def places(value, path=()):
    """Every place in a config, as a path of keys."""
    yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*path, name))


JUNK = st.sampled_from([None, -1, 0, 2.5, "x", [], {}, [{"type": "v"}], {"type": "v"}, "1e9", True])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_config_is_one_line_or_harmless(model_folder, copy, data):
    config = json.loads((model_folder / "config.json").read_text())
    path = data.draw(st.sampled_from([path for path in places(config) if path]))
    parent = config
    for name in path[:-1]:
        parent = parent[name]
    if data.draw(st.booleans()):
        del parent[path[-1]]
    else:
        parent[path[-1]] = data.draw(JUNK)
    (copy / "config.json").write_text(json.dumps(config))
    try:
        Vocoder.from_pretrained(copy)
    except UserError as error:
        assert "\n" not in str(error) and str(copy) in str(error)


def test_a_vocoder_needs_a_network_for_its_mels():
    network = Network(StftFrontend(), 40, 256, channels=[8], blocks=[1], embedding=16)
    with pytest.raises(UserError, match=r"network: .*network.condition=80"):
        VocoderModel(network, Cosine(), V(), SPEC, StandardPrior())
