"""Adapter files: what is written is read, and what is not an adapter is refused in one line without running it."""

import hashlib
import json
import pickle
from dataclasses import replace

import pytest
import torch
from adapter_models import random_adapter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from audiodiff.errors import UserError
from audiodiff.models import adapter
from audiodiff.models.adapted import apply
from audiodiff.pipelines.adapter_options import load_adapters


@pytest.fixture
def saved(make_prompted, tmp_path):
    found = random_adapter(make_prompted(), "lora", words={"<my-drum>": torch.ones(2, 256)})
    found.save(tmp_path / "adapter", "# card\n")
    return found, tmp_path / "adapter"


def test_what_is_saved_is_loaded(saved):
    found, folder = saved
    loaded = adapter.load(folder)
    for name in ("base", "base_type", "base_name", "kind", "rank", "alpha"):
        assert getattr(loaded, name) == getattr(found, name)
    for layer, update in found.updates.items():
        assert all(torch.equal(loaded.updates[layer][name], tensor) for name, tensor in update.items())
    assert torch.equal(loaded.words["<my-drum>"], found.words["<my-drum>"])
    assert len(loaded.digest) == 64 and loaded.numbers() == found.numbers()
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "adapter.json", "adapter.safetensors"]


def rewrite(folder, **changes):
    file = folder / "adapter.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder, match):
    with pytest.raises(UserError, match=match) as error:
        adapter.load(folder)
    with pytest.raises(UserError) as other:
        adapter.inspect(folder).loaded()
    assert "\n" not in str(error.value) + str(other.value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"version": 2}, "version 2 is not supported; update audiodiff"),
        ({"format": "audiodiff"}, "is not an adapter"),
        ({"kind": "os.system"}, "kind 'os.system' is not one of lora, dora, loha"),
        ({"rank": 0}, "rank 0 is out of range"),
        ({"rank": 10**9}, "rank 1000000000 is out of range"),
        ({"rank": 2.5}, r"rank 2\.5 is out of range"),
        ({"alpha": float("nan")}, "alpha nan is out of range"),
        ({"alpha": "1"}, "alpha '1' is out of range"),
        ({"alpha": 10**400}, "alpha 1000.* is out of range"),
        ({"base": []}, "is not an adapter"),
        ({"base": {"type": 1, "name": "", "hash": ""}}, "is not an adapter"),
        ({"weights_hash": "0" * 64}, "hash of the weights differs"),
        ({"training": 7}, "is not an adapter"),
        ({"training": {"licenses": 5}}, "is not an adapter"),
        ({"training": {"licenses": "CC0-1.0"}}, "is not an adapter"),
        ({"training": {"licences": 5}}, "is not an adapter"),
        ({"training": {"started_from": "x"}}, "is not an adapter"),
        ({"training": {"started_from": {"licenses": [1, "MIT"]}}}, "is not an adapter"),
        ({"training": {"codec": 3}}, "is not an adapter"),
        ({"training": json.loads('{"started_from": ' * 100 + "{}" + "}" * 100)}, "is not an adapter"),
    ],
)
def test_configs_that_are_none_are_refused(saved, changes, match):
    rewrite(saved[1], **changes)
    refused(saved[1], match)


@pytest.mark.parametrize("dtype", ["F8_E8M0", "F4", "F128"])
def test_types_of_numbers_that_cannot_be_read_are_refused(saved, dtype):
    header = json.dumps({"layer.down": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2]}}).encode()
    content = len(header).to_bytes(8, "little") + header + b"\0\0"
    (saved[1] / "adapter.safetensors").write_bytes(content)
    rewrite(saved[1], weights_hash=hashlib.sha256(content).hexdigest())
    refused(saved[1], "is not a complete safetensors file")


def write_weights(folder, weights):
    save_file(weights, folder / "adapter.safetensors")
    rewrite(folder, weights_hash=hashlib.sha256((folder / "adapter.safetensors").read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({"unet.conv_in.down": torch.tensor([[float("nan")]])}, "not of finite float32"),
        ({"unet.conv_in.down": torch.zeros(1, 1, dtype=torch.int8)}, "not of finite float32"),
        ({"unet.conv_in.sideways": torch.zeros(1)}, "is not part of an adapter of kind lora"),
        ({"words.<my drum>": torch.zeros(1, 256)}, "not a word of 1 to 8 vectors"),
        ({"words.<my-drum>": torch.zeros(9, 256)}, "not a word of 1 to 8 vectors"),
        ({"speakers.anna": torch.zeros(2, 16)}, "not a speaker with a vector"),
        ({"speakers.a:b": torch.zeros(16)}, "not a speaker with a vector"),
        ({"speakers.": torch.zeros(16)}, "not a speaker with a vector"),
    ],
)
def test_weights_that_are_none_are_refused(saved, weights, match):
    write_weights(saved[1], weights)
    refused(saved[1], match)


def test_a_pickle_is_not_unpickled(saved, tmp_path):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    content = pickle.dumps(Hostile())
    (saved[1] / "adapter.safetensors").write_bytes(content)
    rewrite(saved[1], weights_hash=hashlib.sha256(content).hexdigest())
    refused(saved[1], "pickles are not supported")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("name", "size", "match"), [("json", 2**21, "1 MiB"), ("safetensors", 2**30 + 1, "1024 MiB")])
def test_large_files_are_refused_before_they_are_read(saved, name, size, match):
    with (saved[1] / f"adapter.{name}").open("ab") as file:
        file.truncate(size)
    refused(saved[1], f"larger than {match}")


def test_an_adapter_is_inspected_without_its_numbers(saved):
    seen, whole = adapter.inspect(saved[1]), adapter.load(saved[1])
    assert seen.digest == whole.digest and seen.numbers() == whole.numbers() and seen.training == whole.training
    assert all(tensor.is_meta for update in seen.updates.values() for tensor in update.values())
    assert seen.words["<my-drum>"].is_meta and whole.loaded() is whole
    assert torch.equal(seen.loaded().words["<my-drum>"], torch.ones(2, 256))


def test_numbers_are_read_once_the_base_is_known(saved, make_prompted, monkeypatch):
    """Those of another base, and more of them than a base can have updates, are never read."""
    base = make_prompted()
    one, other = saved[0], make_prompted()
    torch.nn.init.normal_(other.network.unet.conv_out.weight)
    replace(one, words={f"<w{k}>": torch.zeros(8, 2**15) for k in range(8)}).save(saved[1].parent / "large")
    monkeypatch.setattr(adapter, "load", None)
    for model, folder, match in ((other, "adapter", "another model"), (base, "large", "numbers, more than 4 for each")):
        (applied,) = load_adapters([saved[1].parent / folder])
        with pytest.raises(UserError, match=match):
            apply(model, [applied])


def test_an_adapter_that_is_replaced_after_it_was_chosen_is_refused(saved):
    seen = adapter.inspect(saved[1])
    replace(saved[0], alpha=1.0).save(saved[1])
    with pytest.raises(UserError, match="was replaced while it was in use"):
        seen.loaded()


def test_other_folders_are_refused(tmp_path, model_folder):
    refused(tmp_path / "none", "no such folder")
    refused(tmp_path, "has no adapter.json")
    refused(model_folder, "is a model, not an adapter")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["format", "version", "base", "kind", "rank", "alpha", "weights_hash", "hash", "type"]), inner
    ), max_leaves=12,
))  # fmt: skip
def test_any_json_is_refused_in_one_line(saved, content):
    folder = saved[1]
    whole = json.loads((folder / "adapter.json").read_text())
    changed = {**whole, **content} if isinstance(content, dict) else content
    original = (folder / "adapter.json").read_text()
    (folder / "adapter.json").write_text(json.dumps(changed))
    try:
        adapter.inspect(folder).loaded()
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        (folder / "adapter.json").write_text(original)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 4000), byte=st.integers(0, 255))
def test_damaged_weights_are_refused_in_one_line(saved, place, byte):
    file = saved[1] / "adapter.safetensors"
    whole = file.read_bytes()
    place %= len(whole)
    damaged = whole[:place] + bytes([byte]) + whole[place + 1 :]
    file.write_bytes(damaged)
    try:
        adapter.inspect(saved[1]).loaded()
        assert damaged == whole
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        file.write_bytes(whole)
