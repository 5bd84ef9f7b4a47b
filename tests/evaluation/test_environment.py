"""What a report says of the machine."""

import json
import platform
import subprocess

import torch

import audiodiff
from audiodiff.evaluation import environment


def test_it_says_what_it_ran_on():
    found = json.loads(json.dumps(environment.describe()))
    assert found["torch"] == torch.__version__ and found["python"] == platform.python_version()
    assert found["audiodiff"] == audiodiff.__version__ and found["threads"] == torch.get_num_threads()
    assert found["device"] == "cpu" and found["cpu"]
    assert found["date"].endswith("+00:00")


def test_revision_is_only_of_a_tree_that_tracks_the_package(tmp_path, monkeypatch):
    package = tmp_path / "audiodiff"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(environment.audiodiff, "__file__", str(package / "__init__.py"))
    assert environment.revision() is None

    def git(*arguments):
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init")
    assert environment.revision() is None  # somebody's repository, but not the package's
    git("add", "audiodiff")
    git("commit", "--no-verify", "-m", "one")
    clean = environment.revision()
    assert len(clean) == 12
    (package / "__init__.py").write_text("changed = 1\n")
    assert environment.revision() == clean + " + changes"


def test_revision_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.revision() is None
