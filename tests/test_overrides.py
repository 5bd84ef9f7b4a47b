"""Overrides as people type them: names of files and folders come through Hydra as they are."""

import os
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from audiodiff import config, runs
from audiodiff.errors import UserError
from audiodiff.overrides import is_multirun, quote, split_arguments

NAMES = ["Música", "My Songs (2024)", "a=b", "it's", "2024", "1e3", "a, b", "[live] x", "{x}", "f(x)", 'say "hi"', "#1",
         "C:\\songs\\", "true", "日本", "step=000000100.ckpt", " blank ", "glob(*)", "x;y", "50%", "'a'b'"]  # fmt: skip
KEYS = ("data.path", "init_from", "resume", "folder", "name", "data.clip")


@pytest.mark.parametrize("names", [NAMES[start::4] for start in range(4)])
def test_names_come_through_as_they_are(names):
    values = dict(zip(KEYS, names, strict=False))
    cfg = config.compose([*(f"{key}={name}" for key, name in values.items()), "debug=overfit"])
    assert {key: OmegaConf.select(cfg, key) for key in values} == values
    latents = ["+recipe=music_latent", f"data.codec={names[0]}"]
    assert config.compose(latents).data.codec == names[0]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda name: "${" not in name))
def test_any_name_is_read_back(name):
    if name in ("null", "???") or name[0] == "~" or (name[0], name[-1]) == ("[", "]"):
        return  # these mean something to a shell or to Hydra, or are a list of names
    quoted = name[0] in "'\"" and name[0] == name[-1]  # the next test's
    assert quoted or read_back(name) == name


@settings(deadline=None, max_examples=300)
@given(st.sampled_from("'\""), st.text(st.sampled_from("'\"\\,= ~{}[]()ab1:"), max_size=8))
@example("'", "a','b")
def test_a_name_in_quotes_is_a_name(quote_mark, inside):
    """Whatever is between quotes is read: without them where Hydra can unquote it, else with them."""
    name = f"{quote_mark}{inside}{quote_mark}"
    expected = {os.path.expanduser(text).replace("\\", "") for text in (name, inside)}
    assert read_back(name).replace("\\", "") in expected  # of backslashes, those that escape are dropped


def test_a_list_of_folders_is_a_list_and_a_folder_in_brackets_is_quoted():
    names = ["/data/My Songs (2024)", "b=c", "../d"]
    words = [f"data.path=[{','.join(names)}]", "folder=[f]"]
    cfg = config.compose(words)
    assert cfg.data.path == names and cfg.folder == "[f]"
    again = [quote(quote(word, ()), ()) for word in words]  # as the saved overrides of a resumed run
    assert config.compose(again).data.path == names
    assert config.compose(["data.path='[f]'"]).data.path == "[f]"


def read_back(name: str) -> str:
    """Value of `data.path=name` as Hydra parses it once quoted: a string, never a sweep."""
    parsed = OverridesParser.create().parse_override(quote(f"data.path={name}", ()))
    assert not parsed.is_sweep_override()
    return parsed.value()


@given(
    st.lists(st.sampled_from(["a=1", "-m", "--multirun", "+recipe=x", "~logger", "b='-m'", "--resolve"]), max_size=6)
)
def test_a_command_line_is_split_as_hydra_splits_it(words):
    options, overrides = split_arguments(["--cfg", "job", *words])
    parsed, rest = get_args_parser().parse_known_args(["--cfg", "job", *options[2:], *overrides])
    assert parsed.overrides == overrides and not rest
    assert parsed.multirun == is_multirun(words)


def test_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.compose(["data.path=~/songs"]).data.path == str(tmp_path / "songs")
    assert config.compose(["init_from=~"]).init_from == str(tmp_path)
    assert config.compose(["data.path=a~b"]).data.path == "a~b"
    assert config.compose(["data.path='~/My songs'"]).data.path == str(tmp_path / "My songs")  # as scripts write it


def test_quotes_interpolations_and_null_keep_their_meaning():
    cfg = config.compose(["data.path='a b'", "folder=f", "resume=null", "init_from=${folder}/model"])
    assert (cfg.data.path, cfg.resume, cfg.init_from) == ("a b", None, "f/model")


def test_other_values_are_quoted_only_where_hydra_cannot_read_them():
    words = ["data.labels=[Trommel, große Trommel]", "seed=3", "data.corpora=music:My Songs"]
    cfg = config.compose(["+recipe=drums", *words])
    assert cfg.data.labels == ["Trommel", "große Trommel"]
    assert (cfg.seed, cfg.data.corpora) == (3, "music:My Songs")
    assert config.compose(["network.channels=[32,64]"]).network.channels == [32, 64]


def test_sweeps_divide_at_commas_and_quote_each_name():
    words = config.check(["-m", "+recipe=speech_mel", "data.path=My Songs (2024),a=b,'x,y'", "seed=1,2"])
    jobs = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words[1:]), None)[0]
    assert [config.compose(job).data.path for job in jobs[::2]] == ["My Songs (2024)", "a=b", "x,y"]
    assert [config.compose(job).seed for job in jobs] == [1, 2] * 3


def test_a_group_is_left_out_by_null():
    cfg = config.compose(["logger=null", "excitation=null", "weighting=null", "timestep_sampling=null"])
    assert not {"logger", "excitation", "timestep_sampling"} & set(cfg)
    assert cfg.model.conditioners.excitation is None
    assert (cfg.network.frontend.signals, cfg.network.frontend.additive) == (0, True)
    whole = config.compose().network.frontend
    assert (whole.signals, whole.additive) == (1, False)


def test_a_run_in_a_folder_with_such_a_name_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("runs", "Música (2024)", "a=b, c")
    (run / "checkpoints").mkdir(parents=True)
    cfg = config.compose([f"resume={run}"])
    assert runs.run_folder(cfg.name, cfg.resume, "now") == str(run)
    assert runs.run_folder(config.compose(["name=Música (2024)"]).name, "last", "now") == str(run)


@pytest.mark.parametrize("words", [["schedule=[1,2]"], ["schedule=[1,2]", "~adapter=x"], ["optimizer=[a,3]"]])
def test_an_option_of_a_group_that_is_no_name_is_one_line(words):
    with pytest.raises(UserError, match=words[0].split("=")[0]) as error:
        config.compose(words)
    assert "\n" not in str(error.value)
