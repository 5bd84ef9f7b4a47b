"""Models on a hub: pushed to one on this computer, loaded from it and from the cache; what is refused, and how."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, serve

import audiodiff
from audiodiff import Vocoder
from audiodiff.errors import UserError
from audiodiff.export.push import push_to_hub, with_metadata
from audiodiff.models import adapter, card, checkpoint, hub

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
REPOSITORY = "somebody/tiny"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub that the client is set up for, logged in; a working folder without models."""

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with serve() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        template = running.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


@pytest.fixture
def mine(model_folder, tmp_path):
    """A model folder that a test may change."""
    return Path(shutil.copytree(model_folder, tmp_path / "mine"))


@pytest.fixture
def files(mine):
    return {file.name: file.read_bytes() for file in mine.iterdir()}


def folder_of(files: dict[str, bytes]) -> Path:
    folder = Path("written")
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def refused(function, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        function()
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_a_pushed_model_is_loaded_by_its_repository(server, mine):
    address = audiodiff.push_to_hub(mine, REPOSITORY)
    assert address == f"{server.address}/{REPOSITORY}"
    assert server.messages == [f"Upload {mine.name} with audiodiff"]
    loaded, original = Vocoder.from_pretrained(REPOSITORY), Vocoder.from_pretrained(mine)
    mel = torch.full((80, 4), -5.0)
    assert torch.equal(loaded.generate(mel, 2).samples, original.generate(mel, 2).samples)
    assert loaded.model_hash == original.model_hash
    assert type(audiodiff.load(REPOSITORY)) is Vocoder


def test_the_card_that_is_pushed_has_what_the_hub_shows(server, mine):
    (mine / "README.md").write_text("---\nlanguage: fr\ntags: []\n---\n# mine\n\nA text.\n")
    push_to_hub(mine, REPOSITORY, message="First")
    text = server.repositories[REPOSITORY]["main"]["README.md"].decode()
    pushed = huggingface_hub.ModelCard(text)
    entries = pushed.data.to_dict()
    assert entries["library_name"] == "audiodiff" and entries["pipeline_tag"] == "audio-to-audio"
    assert entries["language"] == "fr" and entries["license"] == "other" and "vocoder" in entries["tags"]
    assert pushed.content.endswith("# mine\n\nA text.\n") and text.count("---\n") == 2
    assert server.messages == ["First"]


def test_results_of_the_card_are_pushed_as_metadata_under_the_name_of_the_repository(server, mine):
    table = "| data | metric | value | 95 % interval | measured by |\n|---|---|---|---|---|\n| a | STOI | 0.9 | – | b |"
    (mine / "README.md").write_text(f"# mine\n\n{card.marked(table, card.RESULTS)}\n")
    push_to_hub(mine, REPOSITORY)
    data = huggingface_hub.ModelCard(server.repositories[REPOSITORY]["main"]["README.md"].decode()).data
    (result,) = data.eval_results
    assert data.model_name == "tiny" and (result.task_type, result.metric_value) == ("audio-to-audio", 0.9)


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_front_matter_of_shipped_cards_is_complete(name):
    file = checkpoint.locate(name) / "README.md"
    text = file.read_text()
    assert huggingface_hub.ModelCard(text).data.to_dict()["license_name"]
    again = huggingface_hub.ModelCard(with_metadata(text, {"license": "mit", "tags": ["other"]}, file))
    assert again.data.to_dict() == huggingface_hub.ModelCard(text).data.to_dict()


def test_front_matter_that_is_no_yaml_is_refused(server, mine):
    (mine / "README.md").write_text("---\na: [1\n---\n# mine\n")
    refused(lambda: push_to_hub(mine, REPOSITORY), "README.md", "front matter")
    assert not server.requests


def test_only_files_of_a_model_travel(server, files, mine):
    (mine / "notes.txt").write_text("mine")
    (mine / "weights.ckpt").write_bytes(b"a pickle")
    push_to_hub(mine, REPOSITORY)
    assert set(server.repositories[REPOSITORY]["main"]) == {"README.md", "config.json", "model.safetensors"}
    server.add(REPOSITORY, files | {"pytorch_model.bin": b"a pickle", "run.py": b"evil", "sub/config.json": b"{}"})
    folder = hub.download(REPOSITORY)
    assert {file.name for file in folder.rglob("*")} == {"README.md", "config.json", "model.safetensors"}
    assert not [one for one in server.requests if "pickle" in one or ".bin" in one or "run.py" in one]


def test_revisions_are_loaded_by_branch_and_commit(server, files, tiny):
    server.add(REPOSITORY, files)
    push_to_hub(checkpoint.locate(REPOSITORY), REPOSITORY, revision="next")
    assert set(server.repositories[REPOSITORY]) == {"main", "next"}
    digest, _ = server.commit(REPOSITORY, "next")
    server.add(REPOSITORY, {}, "main")
    wanted = checkpoint.load(f"{REPOSITORY}@next").digest
    assert checkpoint.load(f"{REPOSITORY}@{digest}").digest == wanted
    refused(lambda: checkpoint.load(f"{REPOSITORY}@nowhere"), f"{REPOSITORY}@nowhere", "no such revision")


def test_a_new_version_replaces_the_cached_one_and_the_cache_serves_without_a_hub(server, files, tiny, monkeypatch):
    server.add(REPOSITORY, files)
    first = checkpoint.load(REPOSITORY).digest
    downloads = [one for one in server.requests if one.startswith("GET /somebody/tiny/resolve")]
    assert checkpoint.load(REPOSITORY).digest == first
    assert [one for one in server.requests if one.startswith("GET /somebody/tiny/resolve")] == downloads
    tiny("strided").save_pretrained("other")
    push_to_hub("other", REPOSITORY)
    second = checkpoint.load(REPOSITORY).digest
    assert second != first
    server.down = True
    assert checkpoint.load(REPOSITORY).digest == second
    refused(lambda: checkpoint.load("somebody/else"), "somebody/else", "cannot be reached", "503")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    requests = len(server.requests)
    assert checkpoint.load(REPOSITORY).digest == second
    refused(lambda: checkpoint.load("somebody/else"), "somebody/else", "offline")
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("changes", "sizes", "parts"),
    [
        ({"model.safetensors": None}, {}, ("no model of audiodiff", "pickles are not supported")),
        ({"config.json": None}, {}, ("no model of audiodiff",)),
        ({}, {"model.safetensors": 2**40}, ("1024.0 GiB", "more than 4 GiB")),
        ({}, {"config.json": None}, ("states no size",)),
        ({}, {"config.json": -5}, ("states no size",)),
        ({"config.json": b"{}"}, {}, ("config.json", "is not a model config")),
        ({"model.safetensors": b"\x80\x04pickle"}, {}, ("pickles are not supported",)),
    ],
)
def test_what_is_no_model_of_ours_is_one_line(server, files, changes, sizes, parts):
    changed = {name: content for name, content in (files | changes).items() if content is not None}
    server.add(REPOSITORY, changed)
    server.sizes.update(sizes)
    refused(lambda: checkpoint.load(REPOSITORY), *parts)


def test_no_such_repository_and_private_ones_are_one_line(server, files, monkeypatch):
    refused(
        lambda: Vocoder.from_pretrained("somebody/none"), "somebody/none: no such model folder", "no such repository"
    )
    push_to_hub(folder_of(files), REPOSITORY, private=True)
    assert checkpoint.load(REPOSITORY)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused(lambda: checkpoint.load(f"{REPOSITORY}@main"), "no such repository", "hf auth login")
    refused(lambda: push_to_hub(folder_of(files), "somebody/new"), "cannot be uploaded", "hf auth login")
    refused(lambda: push_to_hub(folder_of(files), "new"), "OWNER/NAME")
    refused(lambda: push_to_hub(folder_of(files), "a/b@c"), "names a revision")


def test_damaged_models_and_those_that_need_a_local_one_are_not_pushed(server, files):
    refused(lambda: push_to_hub(folder_of(files | {"model.safetensors": b"0" * 64}), REPOSITORY), "model.safetensors")
    voice = checkpoint.locate("voice-en")
    config = json.loads((voice / "config.json").read_text())
    config["model"]["vocoder"] = "./mine"
    described = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": (voice / "model.safetensors").read_bytes(),
    }
    refused(lambda: push_to_hub(folder_of(described), REPOSITORY), "names ./mine as its vocoder")
    assert not server.requests


def test_names_of_folders_are_not_asked_for(server, tmp_path):
    (tmp_path / "here/runs").mkdir()
    for name in ("runs/model", "./some/model", "../model", "a/b/c", "model", "/a/b", "a//b", "a/b@", "a\nb/c", "-a/b"):
        refused(lambda name=name: checkpoint.load(name), "no such model folder")
    assert not server.requests and not hub.is_repository("runs/model") and hub.is_repository("run/model@main")


def test_without_the_client_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(hub, "is_available", lambda: False)
    refused(lambda: checkpoint.load("somebody/tiny"), "no such model folder", "install huggingface_hub")


def test_adapters_travel_too(server, tmp_path):
    learned = adapter.Adapter("hash", "audio", "somebody/base", words={"<drum>": torch.ones(1, 4)})
    learned.save(tmp_path / "learned", "# mine\n")
    push_to_hub(tmp_path / "learned", "somebody/drum")
    loaded = adapter.load("somebody/drum")
    assert loaded.base == "hash" and torch.equal(loaded.words["<drum>"], learned.words["<drum>"])
    entries = huggingface_hub.ModelCard(server.repositories["somebody/drum"]["main"]["README.md"].decode()).data
    assert entries.base_model == "somebody/base" and "adapter" in entries.tags


def test_exported_models_travel_without_their_program(server, exported, tiny):
    folder = exported(tiny())
    assert (folder / "run.py").is_file()
    push_to_hub(folder, "somebody/graph")
    files = server.repositories["somebody/graph"]["main"]
    assert set(files) == {"README.md", "export.json", "network.onnx", "arrays.safetensors"}
    mel = torch.full((80, 4), -5.0)
    original, loaded = (Vocoder.from_pretrained(one, backend="onnx") for one in (folder, "somebody/graph"))
    assert torch.equal(original.generate(mel, 2).samples, loaded.generate(mel, 2).samples)


@pytest.mark.slow
def test_the_command_line_pushes_and_loads_by_the_environment_alone(tmp_path, mine):
    with serve() as running:
        environment = os.environ | {
            "HF_ENDPOINT": running.address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",  # nothing but this computer is asked
            "no_proxy": "127.0.0.1",
        }

        def run(*words, **more):
            command = [sys.executable, "-m", "audiodiff", *map(str, words)]
            return subprocess.run(command, cwd=tmp_path, env=environment | more, capture_output=True, text=True)

        pushed = run("push", mine, REPOSITORY, "--private", "--message", "Hello")
        assert (pushed.returncode, pushed.stdout) == (0, f"{running.address}/{REPOSITORY}\n"), pushed.stderr
        assert REPOSITORY in running.private and running.messages == ["Hello"]
        for more in ({}, {"HF_HUB_OFFLINE": "1"}):
            shown = run("info", REPOSITORY, **more)
            assert shown.returncode == 0 and checkpoint.load(mine).digest in shown.stdout, shown.stderr
        missing = run("info", "somebody/none")
        assert missing.returncode == 1 and missing.stderr.count("\n") == 1
