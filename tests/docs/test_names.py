"""The new names on `docs/names.md` exist, and none of the old modules does."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
from hydra.utils import get_object
from typer.main import get_command

from audiodiff import config
from audiodiff.cli import build

PAGE = (Path(__file__).parents[2] / "docs" / "names.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def rows(section: str) -> list[tuple[str, str]]:
    """The first two cells of each row."""
    cells = [line.strip("| ").split(" | ") for line in SECTIONS[section].splitlines() if line.startswith("| ")]
    return [(row[0], row[1]) for row in cells if row[0] != "before"]


def resolve(name: str) -> object:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


NEW = sorted({name for _, after in rows("Python") for name in re.findall(r"`(audiodiff\.[\w.]+[A-Za-z])\b", after)})
OLD = sorted({name for before, _ in rows("Python") for name in re.findall(r"`(audiodiff\.[a-z_.]+)`", before)})


def test_page_has_names_to_check():
    assert len(NEW) > 40 and len(OLD) > 5


@pytest.mark.parametrize("name", NEW)
def test_new_name_exists(name):
    assert resolve(name) is not None


@pytest.mark.parametrize("name", OLD)
def test_old_name_is_gone(name):
    with pytest.raises((ModuleNotFoundError, AttributeError)):
        resolve(name)


@pytest.mark.parametrize("before, after", [row for row in rows("Commands") if " --" in row[0]])
def test_option_is_renamed(before, after):
    verb, old = before.strip("`").split()
    options = {option for parameter in get_command(build()).commands[verb].params for option in parameter.opts}
    assert after.strip("`") in options and old not in options


def test_new_groups_compose():
    recipes = {"denoising": "drums", "audio": "drums", "latent_audio": "music_latent", "codec": "autoencoder"}
    choices = [one for _, after in rows("Configuration") for one in re.findall(r"`([a-z_]+=[a-z_]+)`", after)]
    assert len(choices) > 8
    for choice in choices:
        recipe = recipes.get(choice.partition("=")[2], "speech_mel")
        config.check([f"+recipe={recipe}", choice])


def accepts(node, name: str) -> bool:
    """Whether a group of a configuration has a key, or its constructor an argument of that name."""
    return name in node or ("_target_" in node and name in inspect.signature(get_object(node._target_)).parameters)


def test_new_keys_exist():
    composed = [config.compose([f"+recipe={name}"]) for name in config.recipes()]
    keys = [key for _, after in rows("Configuration") for key in re.findall(r"`([a-z_]+\.[a-z_]+)`", after)]
    assert len(keys) > 20
    for group, name in (key.split(".") for key in keys):
        assert any(accepts(cfg[group], name) for cfg in composed), f"{group}.{name}"
