"""`--adapter`: what is written is what is applied, and nonsense is refused in one line."""

import math

import pytest
from adapter_models import random_adapter
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.errors import UserError
from audiodiff.models.adapted import AppliedAdapter
from audiodiff.pipelines.adapter_options import MAX_ADAPTERS, MAX_SCALE, AdapterChoice, load_adapters, parse_adapter
from audiodiff.pipelines.options import GenerationConfig

EVERYWHERE = (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("my-drum", ("my-drum", 1.0, EVERYWHERE)),
        ("my-drum:0.8", ("my-drum", 0.8, EVERYWHERE)),
        ("runs/a:b:-1e-1", ("runs/a:b", -0.1, EVERYWHERE)),
        ("my-drum:0.8@-5:3", ("my-drum", 0.8, (-5.0, 3.0))),
        ("my-drum@:3", ("my-drum", 1.0, (-math.inf, 3.0))),
        ("my-drum@-5:", ("my-drum", 1.0, (-5.0, math.inf))),
        ("me@home", ("me@home", 1.0, EVERYWHERE)),
        ("me@home:0", ("me@home", 0.0, EVERYWHERE)),
        ("C:\\drum", ("C:\\drum", 1.0, EVERYWHERE)),
    ],
)
def test_adapters_are_written_with_scale_and_interval(text, choice):
    assert parse_adapter(text) == choice


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("drum:nan", "scale nan"),
        ("drum:inf", "scale inf"),
        ("drum:11", "use -10 to 10"),
        (":0.5", "names no folder"),
        ("", "names no folder"),
        ("drum@3:-5", "lower end first"),
        ("drum@nan:3", "interval"),
    ],
)
def test_what_is_no_adapter_is_refused_in_one_line(text, match):
    with pytest.raises(UserError, match=match) as error:
        parse_adapter(text)
    assert "\n" not in str(error.value)


@given(
    folder=st.from_regex(r"[a-z/._-]{1,12}", fullmatch=True),
    scale=st.floats(-MAX_SCALE, MAX_SCALE),
    ends=st.lists(st.floats(-30, 30), min_size=2, max_size=2).map(sorted),
)
def test_what_is_written_is_read_again(folder, scale, ends):
    low, high = (float(f"{end:.6f}") for end in ends)
    assert parse_adapter(f"{folder}:{scale!r}@{low}:{high}") == AdapterChoice(folder, scale, (low, high))


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        choice = parse_adapter(text)
        assert (
            text.startswith(choice.folder)
            and abs(choice.scale) <= MAX_SCALE
            and choice.interval[0] <= choice.interval[1]
        )
    except UserError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    "given", ["my-drum", 3, None, [3], [None], ["a\ud800"], ["x"] * (MAX_ADAPTERS + 1), ["none/here"]]
)
def test_other_values_are_refused_in_one_line(given):
    with pytest.raises(UserError) as error:
        load_adapters(given)
    assert len(str(error.value).splitlines()) == 1


def test_a_request_records_what_decides_the_sound(make_prompted, tmp_path):
    random_adapter(make_prompted()).save(tmp_path / "drum")
    config = GenerationConfig(adapters=[f"{tmp_path / 'drum'}:0.5@-5:", tmp_path / "drum"])
    (one, other), recorded = config.adapters, config.record()["adapters"]
    assert isinstance(one, AppliedAdapter) and one.scale == 0.5 and other.scale == 1.0
    assert recorded == [
        {"hash": one.adapter.digest, "scale": 0.5, "interval": [-5.0, None]},
        {"hash": one.adapter.digest, "scale": 1.0, "interval": None},
    ]
    assert GenerationConfig().record()["adapters"] is None
