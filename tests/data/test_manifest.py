import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.data.captions import compose
from audiodiff.data.manifest import (
    MIN_NAMES_TO_HOLD_OUT,
    NAME,
    SPLITS,
    Clip,
    Manifest,
    assign_splits,
    split_of,
    splits_of,
)
from audiodiff.errors import UserError
from audiodiff.files import is_safe_relative_path

HEADER = {"manifest": "audiodiff", "version": 1, "split_by": "clip"}


def clip(name: str, **fields) -> Clip:
    return Clip(f"c/{name}", f"c/{name}.flac", 1.5, 16000, **fields)


def written(folder: Path, *lines: dict | str) -> Path:
    path = folder / NAME
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text().filter(lambda name: is_safe_relative_path(f"c/{name}")), unique=True, max_size=5),
    st.text(),
    st.integers(1, 10**8),
    st.integers(1, 192000),
    st.booleans(),
    st.sampled_from(SPLITS),
)
def test_round_trip(tmp_path_factory, names, text, samples, rate, synthetic, split):
    folder = tmp_path_factory.mktemp("m")
    clips = tuple(
        Clip(
            f"c/{name}", f"{name}.flac", samples / rate, rate, text, "s", split, "l", "o", synthetic, "00", text, "p", 2
        )
        for name in names
    )
    manifest = Manifest(clips, folder, "speaker")
    path = manifest.save()
    assert Manifest.load(folder) == manifest == Manifest.load(path)
    assert all(one.samples == samples for one in Manifest.load(folder).clips)


def test_only_path_and_saving_elsewhere(tmp_path):
    manifest = Manifest((clip("a"), clip("b", split="test"), clip("d", split="validation")), tmp_path)
    assert [one.id for one in manifest.with_splits("train", "test").clips] == ["c/a", "c/b"]
    assert manifest.path(manifest.clips[1]) == tmp_path / "c/b.flac"
    assert len(manifest.with_splits("validation")) == 1
    saved = manifest.with_splits("test").save(tmp_path / "held_out.jsonl")
    assert [one.id for one in Manifest.load(saved).clips] == ["c/b"]
    with pytest.raises(UserError, match=r"dev.*is not a split"):
        manifest.with_splits("dev")


def test_content_hash_sees_every_field_but_neither_order_nor_place(tmp_path):
    a, b = clip("a"), clip("b")
    base = Manifest((a, b), tmp_path).content_hash()
    assert base == Manifest((b, a), tmp_path / "elsewhere").content_hash()
    later = ({"label": "x"}, {"tempo": 90.0}, {"piece": "x"}, {"channels": 2})
    later += ({"phonemes": "a"}, {"language": "en-us"}, {"durations": (1.5,)}, {"pitch": (100.0,)})
    for change in ({"text": "x"}, {"split": "test"}, {"content": "1"}, {"seconds": 2.0}, *later):
        assert Manifest((replace(a, **change), b), tmp_path).content_hash() != base


OLD = """{"manifest": "audiodiff", "version": 1, "split_by": "clip"}
{"id": "c/a", "path": "c/a.flac", "seconds": 1.5, "sample_rate": 16000, "text": "Hello", "speaker": "c/x", \
"split": "train", "licence": "CC0", "source": "Debian c 1", "synthetic": false, "content": "0123"}
{"id": "c/b", "path": "c/b.flac", "seconds": 2.0, "sample_rate": 44100, "text": "", "speaker": "", \
"split": "train", "licence": "GPL-2", "source": "", "synthetic": false, "content": "", "label": "kick", "channels": 2}
"""


def test_manifest_of_version_0_1_loads_and_keeps_its_hash(tmp_path):
    (tmp_path / "manifest.jsonl").write_text(OLD)
    manifest = Manifest.load(tmp_path)
    assert [clip.license for clip in manifest.clips] == ["CC0", "GPL-2"]
    assert manifest.content_hash() == "6f0502489ff9c592"  # recorded in checkpoints
    assert '"license": "CC0"' in manifest.save().read_text()
    assert Manifest.load(tmp_path).content_hash() == "6f0502489ff9c592"


def test_default_values_of_optional_fields_are_not_written(tmp_path):
    lines = Manifest((clip("a"), clip("b", channels=2)), tmp_path).save().read_text().split("\n")
    assert not any(name in lines[1] for name in ("channels", "label", "piece", "tempo", "phonemes", "pitch"))
    assert json.loads(lines[2])["channels"] == 2


@settings(max_examples=30, deadline=None)
@given(
    st.text(min_size=1, max_size=20).flatmap(
        lambda phonemes: st.tuples(
            st.just(phonemes),
            st.lists(st.integers(0, 10**5), min_size=len(phonemes) + 2, max_size=len(phonemes) + 2).filter(any),
            st.lists(st.just(0.0) | st.floats(50, 600), min_size=len(phonemes) + 2, max_size=len(phonemes) + 2),
        )
    )
)
def test_phonemes_durations_and_pitch_round_trip(tmp_path_factory, values):
    phonemes, samples, pitch = values
    folder = tmp_path_factory.mktemp("m")
    durations = tuple(round(count / 24000, 6) for count in samples)
    one = Clip("c/a", "a.flac", sum(samples) / 24000, 24000, "x", language="en-us", phonemes=phonemes)
    one = replace(one, durations=durations, pitch=tuple(pitch))
    manifest = Manifest((one,), folder)
    manifest.save()
    assert Manifest.load(folder) == manifest
    assert Manifest.load(folder).content_hash() == manifest.content_hash()


GOOD = asdict(clip("a"))
SPOKEN = GOOD | {"phonemes": "ab", "durations": [0.5, 0.25, 0.25, 0.5], "pitch": [0, 99.5, 0, 0]}


def test_captions_round_trip_and_are_drawn_from_their_parts(tmp_path):
    composed = compose(["hi-hat"], ["closed"])
    one = clip("a", caption=composed.text, caption_parts=composed.parts)
    free = clip("b", caption="Rain on a roof")
    Manifest((one, free, clip("c")), tmp_path).save()
    first, second, third = Manifest.load(tmp_path).clips
    assert (first, second) == (one, free)
    assert first.draw_caption(np.random.default_rng(3)) == composed.draw(np.random.default_rng(3))
    assert {"closed", "hi-hat"} <= first.caption_words()
    assert second.draw_caption(np.random.default_rng(3)) == "Rain on a roof"
    assert third.draw_caption(np.random.default_rng(3)) == "" and not third.caption_words()


@pytest.mark.parametrize("parts", ["noun: rain", ["loud"], ["adjective: loud"], [3], ["noun: a\nb"], {"noun": "rain"}])
def test_malformed_parts_of_captions_are_named(tmp_path, parts):
    one = {"id": "c/a", "path": "a.flac", "seconds": 1, "sample_rate": 8000, "caption_parts": parts}
    with pytest.raises(UserError, match=r"line 2.*caption_parts"):
        Manifest.load(written(tmp_path, HEADER, one))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: is not the header"),
        (["RIFF"], "line 1: is not JSON"),
        ([GOOD], "line 1: is not the header"),
        ([HEADER | {"version": 2}], "line 1: version 2, this program reads 1"),
        ([HEADER | {"split_by": "moon"}], "line 1: split_by is 'moon'"),
        ([HEADER, GOOD, "{"], "line 3: is not JSON"),
        ([HEADER, "[]"], "line 2: is not a JSON object"),
        ([HEADER, {k: v for k, v in GOOD.items() if k != "path"}], "line 2: field 'path' is missing"),
        ([HEADER, GOOD | {"seconds": "1"}], "line 2: field 'seconds' is '1', not float"),
        ([HEADER, GOOD | {"sample_rate": 16000.5}], "line 2: field 'sample_rate' is 16000.5, not int"),
        ([HEADER, GOOD | {"sample_rate": True}], "line 2: field 'sample_rate' is True, not int"),
        ([HEADER, GOOD | {"seconds": 0}], "line 2: field 'seconds' is 0, must be above 0"),
        ([HEADER, GOOD | {"split": "dev"}], "line 2: field 'split' is 'dev'"),
        ([HEADER, GOOD | {"pace": 3}], "line 2: unknown field 'pace'"),
        ([HEADER, GOOD | {"tempo": -3}], r"line 2: field 'tempo' is -3, not 0 or above"),
        ([HEADER, GOOD | {"channels": 6}], "line 2: field 'channels' is 6, not 1 or 2"),
        ([HEADER, GOOD | {"path": ""}], "line 2: field 'path' is empty"),
        ([HEADER, GOOD | {"path": "a\0.flac"}], r"line 2: field 'path' is 'a\x00.flac'"),
        ([HEADER, GOOD | {"seconds": 10**400}], "line 2: field 'seconds' is 10000"),
        ([HEADER, GOOD | {"tempo": 1e300}], "line 2: field 'tempo' is 1e+300"),
        ([HEADER, json.dumps(GOOD).replace("1.5", "9" * 5000)], "line 2: is not JSON"),
        ([HEADER, "[" * 10**5], "line 2: is not JSON"),
        ([HEADER, GOOD | {"text": "\ud800"}], r"line 2: field 'text' is '\ud800'"),
        ([HEADER, SPOKEN | {"durations": 3}], "line 2: field 'durations' is 3, not a list of numbers"),
        ([HEADER, SPOKEN | {"durations": [0.5, "a", 0, 0]}], "line 2: number 2 of field 'durations' is 'a', not 0"),
        ([HEADER, SPOKEN | {"pitch": [0, -1, 0, 0]}], "line 2: number 2 of field 'pitch' is -1, not 0 or above"),
        ([HEADER, SPOKEN | {"pitch": [0, True, 0, 0]}], "line 2: number 2 of field 'pitch' is True, not 0 or above"),
        ([HEADER, SPOKEN | {"pitch": [0, float("nan"), 0, 0]}], "line 2: number 2 of field 'pitch' is nan, not 0"),
        ([HEADER, SPOKEN | {"phonemes": "a"}], "line 2: field 'durations' has 4 numbers for 1 phonemes, which need 3"),
        ([HEADER, SPOKEN | {"phonemes": "", "durations": [1, 0.5]}], "line 2: field 'durations' has 2 numbers for 0"),
        ([HEADER, SPOKEN | {"seconds": 1.502}], "line 2: field 'durations' sums to 1.5000 s, the clip has 1.5020 s"),
        ([HEADER, SPOKEN | {"phonemes": 3}], "line 2: field 'phonemes' is 3, not str"),
        ([HEADER, GOOD, GOOD], "id 'c/a'"),
    ],
)
def test_malformed(tmp_path, lines, message):
    path = written(tmp_path, *lines)
    with pytest.raises(UserError) as error:
        Manifest.load(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["id", "content"])
@pytest.mark.parametrize("name", ["../../../victim/x", "a/../../x", "/x", "..", ".", "a\0b"])
def test_ids_and_content_are_safe_file_names(tmp_path, field, name):
    with pytest.raises(UserError, match=f"line 2: field '{field}' is .* leads out of a folder"):
        Manifest.load(written(tmp_path, HEADER, GOOD | {field: name}))


@pytest.mark.parametrize("name", ["c/..a", "c/a..", "c/.a", "c/a b", "c/é", "c/a\\b", "x" * 300])
def test_unusual_ids_are_ids(tmp_path, name):
    assert Manifest.load(written(tmp_path, HEADER, GOOD | {"id": name})).clips[0].id == name


def test_byte_order_mark_is_ignored(tmp_path):
    path = written(tmp_path, HEADER, GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [one.id for one in Manifest.load(path).clips] == ["c/a"]


def test_missing_and_binary(tmp_path):
    with pytest.raises(UserError, match="no such manifest; prepare some data with `audiodiff prepare`"):
        Manifest.load(tmp_path)
    (tmp_path / "voice.WAV").touch()
    hint = f"prepare its recordings: `audiodiff prepare folder:{tmp_path} --out data/{tmp_path.name}`"
    with pytest.raises(UserError, match=re.escape(hint)):
        Manifest.load(tmp_path)
    (tmp_path / NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as a manifest"):
        Manifest.load(tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_refused_in_one_line(tmp_path_factory, text):
    path = written(tmp_path_factory.mktemp("m"), text)
    with pytest.raises(UserError) as error:
        Manifest.load(path)
    assert len(str(error.value).splitlines()) == 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["..", "/", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), VALUES, max_size=3))
def test_any_values_are_read_or_refused_in_one_line(tmp_path_factory, changes):
    folder = tmp_path_factory.getbasetemp()
    path = written(folder, HEADER, GOOD | changes)
    try:
        (one,) = Manifest.load(path).clips
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return
    saved = Manifest((one,), folder).save(folder / "again.jsonl")
    assert Manifest.load(saved).clips == (one,)
    assert one.samples >= 0 and (folder / one.id).resolve().is_relative_to(folder.resolve())
    Path(folder / one.path).exists()


def test_split_shares_are_90_5_5():
    sides = [split_of(f"clip {i}") for i in range(20000)]
    # four standard deviations of a binomial share
    assert sides.count("train") / 20000 == pytest.approx(0.9, abs=0.0085)
    assert sides.count("validation") / 20000 == pytest.approx(0.05, abs=0.0062)
    assert sides.count("test") / 20000 == pytest.approx(0.05, abs=0.0062)


def test_splits_do_not_depend_on_order_or_company():
    clips = [clip(str(i), content=str(i)) for i in range(200)]
    whole = assign_splits(clips)
    assert whole == assign_splits(reversed(clips))
    assert {one.id: one.split for one in assign_splits(clips[::3])}.items() <= {o.id: o.split for o in whole}.items()
    assert all(one.split == split_of(one.id) for one in whole)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20)), max_size=60), st.sampled_from(["clip", "speaker"]))
def test_duplicates_and_speakers_stay_together(pairs, by):
    clips = [clip(str(i), speaker=f"s{s}", content=str(c)) for i, (s, c) in enumerate(pairs)]
    split = assign_splits(clips, by)
    for field in ("content", *(["speaker"] if by == "speaker" else [])):
        for value in {getattr(one, field) for one in split}:
            assert len({one.split for one in split if getattr(one, field) == value}) == 1


@given(st.lists(st.integers(0, 8), max_size=60), st.sampled_from(["clip", "speaker"]))
def test_pieces_stay_together(pieces, by):
    clips = [clip(str(i), piece=f"p{p}", speaker=f"s{p % 2}") for i, p in enumerate(pieces)]
    split = assign_splits(clips, by)
    for piece in {one.piece for one in split}:
        assert len({one.split for one in split if one.piece == piece}) == 1


def test_missing_content_hashes_are_not_duplicates():
    sides = {one.split for one in assign_splits([clip(str(i)) for i in range(300)])}
    assert sides == set(SPLITS)


@given(st.sets(st.text("abcxyz", min_size=1, max_size=6), min_size=1, max_size=40))
def test_something_is_trained_on_and_of_five_something_is_held_out(names):
    found = splits_of(names)
    assert found.keys() == names and "train" in found.values()
    assert len(names) < MIN_NAMES_TO_HOLD_OUT or len(set(found.values())) > 1
    assert sum(found[name] != split_of(name) for name in names) <= 1


@given(st.lists(st.integers(), min_size=2, max_size=40, unique=True))
def test_training_names_are_not_held_out_later(numbers):
    names = [str(number) for number in numbers]
    before = {}
    for count in range(MIN_NAMES_TO_HOLD_OUT, len(names) + 1):
        after = splits_of(names[:count])
        alone = all(split_of(name) != "train" for name in before)  # then one of them had to be trained on
        assert alone or all(after[name] == "train" for name, side in before.items() if side == "train")
        before = after


def joined(tmp_path, *parts):
    manifests = []
    for name, clips in parts:
        (tmp_path / name).mkdir(exist_ok=True)
        manifest = Manifest(clips, tmp_path / name)
        manifest.save()
        manifests.append(Manifest.load(tmp_path / name))
    return Manifest.join(manifests)


def test_joined_manifests_find_their_files_and_do_not_depend_on_order(tmp_path):
    one = ("one", (Clip("a/1", "a/1.flac", 1.0, 8000), Clip("a/2", "a/2.flac", 1.0, 8000, split="test")))
    other = ("other", (Clip("b/1", "../shared/b.flac", 1.0, 8000),))
    both = joined(tmp_path, one, other)
    assert [clip.id for clip in both.clips] == ["a/1", "a/2", "b/1"]
    assert [both.path(clip).resolve() for clip in both.clips] == [
        tmp_path / "one/a/1.flac",
        tmp_path / "one/a/2.flac",
        tmp_path / "shared/b.flac",
    ]
    assert both.content_hash() == joined(tmp_path, other, one).content_hash()
    assert joined(tmp_path, one) == Manifest.load(tmp_path / "one")


def test_a_clip_in_two_joined_manifests_is_named(tmp_path):
    clips = (Clip("a/1", "a.flac", 1.0, 8000),)
    with pytest.raises(UserError, match=r"clip 'a/1': is in both .*one and .*other; leave one of them out"):
        joined(tmp_path, ("one", clips), ("other", clips))


def test_joined_training_clips_are_not_those_that_another_manifest_holds_out(tmp_path):
    held_out = Clip("a/1", "a.flac", 1.0, 8000, split="test", content="same")
    again = Clip("b/1", "b.flac", 1.0, 8000, content="same")
    more = Clip("b/2", "b.flac", 1.0, 8000, content="else")
    both = joined(tmp_path, ("one", (held_out,)), ("other", (again, more)))
    assert [clip.id for clip in both.clips] == ["a/1", "b/2"]
