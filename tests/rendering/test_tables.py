"""Rows of tables: every option a column, whatever the format of the table and the type of the model."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio import io
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.memory import DoesNotFit
from audiodiff.pipelines.options import GenerationConfig, SpeechOptions, SynthesisOptions
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.jobs import unfinished_batches
from audiodiff.rendering.lines import read_lines
from audiodiff.rendering.options import ExecutionOptions, FileOptions, RenderOptions
from audiodiff.rendering.prompts import read_prompts
from audiodiff.rendering.registry import Request, render_request
from audiodiff.rendering.sidecar import sidecar_path
from audiodiff.rendering.tables import Columns, read_table

COLUMNS = Columns(GenerationConfig, "name", line="prompt")
HEADER = '{"manifest": "audiodiff", "version": 1}\n'


@pytest.fixture
def table(tmp_path):
    def write(name: str, content: str):
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


@pytest.fixture
def prompted(make_prompted, tmp_path):
    make_prompted(scalars=("tempo",), labels=("kick", "snare")).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def go(tmp_path):
    """`go(model, *inputs, out="out", files={}, **options)` -> (outcome, errors)."""

    def run(model, *inputs, out="out", files=None, count=None, **options):
        reported, options = [], RenderOptions(**{"steps": 2} | options)
        request = Request(
            inputs=inputs, out=tmp_path / out, options=options, files=FileOptions(**files or {}), count=count
        )
        return render_request(model, request, reported.append, quiet=True), [str(error) for error in reported]

    return run


def audio(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wav")}


def entries(path):
    return json.loads(sidecar_path(path).read_text())


def test_one_table_in_every_format(table):
    wanted = {"prompt": "rain", "labels": ("kick", "snare"), "tempo": 120.0, "seed": 7, "loop": True}
    csv = table("a.csv", "name,prompt,label,tempo,seed,loop\nx,rain,kick; snare,120,7,yes\n")
    tsv = table("a.tsv", "name\tprompt\tlabels\ttempo\tseed\tloop\nx\train\tkick;snare\t120\t7\tTRUE\n")
    row = {
        "name": "x",
        "prompt": "rain",
        "labels": ["kick", "snare"],
        "tempo": 120,
        "seed": 7,
        "loop": True,
        "steps": None,
    }
    jsonl = table("a.jsonl", f"\n{json.dumps(row)}\n")
    for path in (csv, tsv, jsonl):
        (found,) = read_table(path, COLUMNS)
        assert found.words == {"name": "x"} and dict(found.options) == wanted, path
    (found,) = read_table(table("a.txt", "\n rain \n"), COLUMNS)
    assert dict(found.options) == {"prompt": "rain"} and found.place.endswith("a.txt, line 2")


@pytest.mark.parametrize("separator", "\u2028\x85\x0b\x0c\x1c")
def test_rows_of_a_table_end_where_csv_ends_them(table, separator):
    (found,) = read_table(table("a.csv", f"prompt,seed\nrain{separator}wind,7\r\n"), COLUMNS)
    assert dict(found.options) == {"prompt": f"rain{separator}wind", "seed": 7}


@pytest.mark.parametrize("config", [GenerationConfig, SpeechOptions, SynthesisOptions])
def test_every_option_is_a_column_by_its_name_and_its_flag(config):
    columns = Columns(config, "name", line="name")
    for name, option in columns.options.items():
        assert columns.names[name] == columns.names[option.flag_for(name)[2:].replace("-", "_")] == name


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", "{", "line 1: is no JSON"),
        ("a.jsonl", '{"seed": 1}\n[1]', "line 2: is no JSON object"),
        ("a.jsonl", '{"sede": 1}', "did you mean seed"),
        ("a.jsonl", '{"name": 3}', "line 1, name 3: expected text"),
        ("a.jsonl", '{"init_audio": 3}', "line 1, init_audio 3: expected a path"),
        ("a.csv", "loop\nmaybe\n", "line 2, loop 'maybe': expected true or false"),
        ("a.csv", f"prompt\nrain\n{'rain ' * 30_000}\n", "line 3: cannot be read (field larger than"),
        ("a.csv", "seed\nfast\n", "line 2, seed 'fast': expected an integer"),
    ],
)
def test_a_bad_row_is_one_line_that_names_its_place(table, name, content, words):
    with pytest.raises(UserError) as error:
        list(read_table(table(name, content), COLUMNS))
    assert words in str(error.value) and "\n" not in str(error.value)


@given(st.text(max_size=120), st.sampled_from([".jsonl", ".tsv", ".txt"]))
@settings(max_examples=80, deadline=None)
def test_any_table_is_read_or_refused_in_one_line(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_text(content, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        list(read_table(path, COLUMNS))
    except UserError as error:
        assert "\n" not in str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*COLUMNS.options, "name"]), json_values, max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_values_of_a_row_make_a_configuration_or_one_line(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "values.jsonl"
    path.write_text(json.dumps(cells))
    try:
        for row in read_prompts([path]):
            row.merge(GenerationConfig())
    except UserError as error:
        assert "\n" not in str(error)


def test_a_row_is_what_the_pipeline_generates(go, prompted, table, tmp_path):
    rows = table("a.csv", "name,prompt,tempo,seed,seconds\nx,rain,90,7,0.3\ny,wind,120,,\n")
    assert go(prompted, rows, seed=3)[0].written == 2
    generator = AudioGenerator.from_pretrained(prompted)
    expected = generator.generate(prompt="rain", tempo=90, seed=7, seconds=0.3, steps=2).samples
    torch.testing.assert_close(io.read(tmp_path / "out/x.wav", channels=1).samples, expected, rtol=0, atol=1.01 / 32768)
    assert entries(tmp_path / "out/y.wav")["tempo"] == 120 and entries(tmp_path / "out/y.wav")["prompt"] == "wind"
    assert go(prompted, rows, seed=3)[0].skipped == 2


def test_a_count_of_clips_is_what_generate_writes(go, prompted, tmp_path):
    from audiodiff.rendering.generation import generate

    assert go(prompted, count=3, seed=5, conditions={"prompt": "rain"})[0].written == 3
    config = GenerationConfig(steps=2, seed=5, conditions={"prompt": "rain"})
    generate(AudioGenerator.from_pretrained(prompted), tmp_path / "generated", config, 3, quiet=True)
    samples = [io.read(tmp_path / out / "0002.wav").samples for out in ("out", "generated")]
    assert torch.equal(*samples) and audio(tmp_path / "out").keys() == audio(tmp_path / "generated").keys()


def test_several_clips_of_a_row_are_those_of_its_seed(go, prompted, table, tmp_path):
    rows = table("a.jsonl", '{"name": "x", "prompt": "rain", "seed": 7}\n{"prompt": "wind"}\n')
    assert go(prompted, rows, count=2)[0].written == 4
    assert audio(tmp_path / "out").keys() == {"x-0.wav", "x-1.wav", "0002-0.wav", "0002-1.wav"}
    expected = AudioGenerator.from_pretrained(prompted).generate(prompt="rain", seed=7, count=2, steps=2).samples[1]
    torch.testing.assert_close(
        io.read(tmp_path / "out/x-1.wav", channels=1).samples, expected, rtol=0, atol=1.01 / 32768
    )


def test_rows_do_not_depend_on_their_neighbours_and_batches_are_alike(go, prompted, table, tmp_path, monkeypatch):
    seen, chunks = [], AudioGenerator.chunks
    monkeypatch.setattr(AudioGenerator, "chunks", lambda *a: seen.append(len(a[2])) or chunks(*a))
    go(prompted, table("a.txt", "rain\nwind\nrain\n"))
    assert sorted(seen) == [1, 2]  # the two of one prompt together
    go(prompted, table("b.csv", "name,prompt\n0002,wind\n"), out="alone")
    assert audio(tmp_path / "alone")["0002.wav"] == audio(tmp_path / "out")["0002.wav"]


def test_a_row_that_does_not_fit_into_memory_costs_no_other(go, prompted, table, monkeypatch):
    chunks = AudioGenerator.chunks

    def full(self, config, *arguments):
        if config.conditions["prompt"] == "wind":
            raise DoesNotFit("a batch", "takes too much", "use shorter clips")
        return chunks(self, config, *arguments)

    monkeypatch.setattr(AudioGenerator, "chunks", full)
    outcome, errors = go(prompted, table("a.txt", "rain\nwind\nsnow\n"))
    assert (outcome.written, outcome.failed) == (2, 1) and "takes too much" in errors[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("label,seed\nkick,1\nbang,2\n", "line 3, .*bang"),
        ("tempo\n120\n-3\n", "line 3, tempo"),
        ("sampler\nmagic\n", "magic"),
    ],
)
def test_a_bad_option_of_the_last_row_stops_before_the_first(go, prompted, table, tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        go(prompted, table("a.csv", content))
    assert not (tmp_path / "out").exists()


def test_a_manifest_gives_texts_captions_and_recordings(table, tmp_path):
    clip = {
        "id": "c/1",
        "path": "wavs/1.wav",
        "seconds": 1.0,
        "sample_rate": 8000,
        "text": "Hello.",
        "caption": "a voice",
    }
    manifest = table("manifest.jsonl", HEADER + json.dumps(clip) + "\n")
    (line,), (prompt,) = read_lines([manifest]), read_prompts([manifest])
    assert (line.text, line.name) == ("Hello.", "wavs/1") and (prompt.file, prompt.options) == (
        "wavs/1",
        {"prompt": "a voice"},
    )
    (recording,) = find_inputs([manifest], tmp_path / "out", pytest.fail)
    assert (recording.id, str(recording.name)) == ("c/1", "wavs/1")


def test_recordings_with_options_of_their_own(go, model_folder, recording, table, tmp_path):
    for name in ("a", "b", "c"):
        io.write(tmp_path / "wavs" / f"{name}.wav", recording(3000, seed=ord(name)))
    rows = table(
        "a.csv", "input,name,steps,seed\nwavs/a.wav,,,\nwavs/b.wav,second,3,9\nwavs/c.wav,,,\nwavs/none.wav,,,\n"
    )
    outcome, errors = go(model_folder, rows, consistency=0, files={"name": "{number}-{name}"})
    assert (outcome.written, outcome.failed) == (3, 1) and "none.wav" in errors[0]
    assert audio(tmp_path / "out").keys() == {"1-a.wav", "2-c.wav", "4-second.wav"}
    second = entries(tmp_path / "out" / "4-second.wav")
    assert (second["steps"], second["seed"], second["id"]) == (3, 9, "second")
    assert entries(tmp_path / "out" / "1-a.wav")["steps"] == 2
    assert go(model_folder, rows, consistency=0, files={"name": "{number}-{name}"})[0].skipped == 3


@pytest.mark.parametrize("kind", ["model_folder", "voice_folder"])
def test_a_vocoder_and_a_voice_need_inputs(go, request, kind):
    with pytest.raises(UserError, match="inputs: none given"):
        go(request.getfixturevalue(kind))
    with pytest.raises(UserError, match="count 0: must be at least 1"):
        go(request.getfixturevalue(kind), __file__, count=0)


@pytest.mark.parametrize("kind", ["model_folder", "voice_folder"])
def test_takes_of_each_row(go, request, kind, table, recording, tmp_path):
    """Take 0 is the clip without takes, the others sound otherwise, and names that look like takes are no matter."""
    for seed, name in enumerate(("x", "y")):
        io.write(tmp_path / f"{name}.wav", recording(2000, seed=seed))
    voice = kind == "voice_folder"
    first, rows = ("text", ("red", "blue")) if voice else ("input", ("x.wav", "y.wav"))
    rows = table("rows.csv", f"{first},name,seed\n{rows[0]},a,\n{rows[1]},a-1,7\n")
    model, alone = request.getfixturevalue(kind), {"batch_size": 1}
    assert go(model, rows, out="one", files=alone)[0].written == 2
    assert go(model, rows, count=3, files=alone)[0].written == 6
    one, takes = audio(tmp_path / "one"), audio(tmp_path / "out")
    assert takes.keys() == {f"{name}-{take}.wav" for name in ("a", "a-1") for take in range(3)}
    assert takes["a-0.wav"] == one["a.wav"] and takes["a-1-0.wav"] == one["a-1.wav"]
    assert len(set(takes.values())) == 6
    (tmp_path / "out" / "a-1.wav").unlink()
    outcome, _ = go(model, rows, count=4, files=alone)
    assert (outcome.written, outcome.skipped) == (3, 5) and takes.items() <= audio(tmp_path / "out").items()
    assert go(model, rows, out="named", count=2, files={"name": "{clip}/{number}"})[0].written == 4
    assert audio(tmp_path / "named").keys() == {"0/1.wav", "1/2.wav", "0/3.wav", "1/4.wav"}
    with pytest.raises(UserError, match=r"makes 'take' of .* and of .*; add {name} or {number}"):
        go(model, rows, out="same", count=2, files={"name": "take"})


def test_conditions_are_options_of_audio_generators_alone(go, model_folder, prompted, table):
    with pytest.raises(UserError, match="prompt rain: a vocoder has no such option"):
        go(model_folder, table("a.wav", ""), conditions={"prompt": "rain"})
    with pytest.raises(UserError, match=r"rate 2\.0: an audio generator has no such option"):
        go(prompted, rate=2)


class Clip:
    def __init__(self, number, size, kind=0, missing=True):
        self.number, self.size, self.kind, self.missing = number, size, kind, missing


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 2), st.booleans()), max_size=40),
    st.integers(1, 8),
    st.integers(1, 120),
)
def test_batches_hold_what_fits_into_their_memory(sizes, size, most):
    clips = [Clip(i, *one) for i, one in enumerate(sorted(sizes, key=lambda one: (one[1], -one[0])))]
    batches = unfinished_batches(clips, size, lambda clip: clip.kind, lambda clip: clip.size, most)
    numbers = [clip.number for batch in batches for clip in batch]
    assert numbers == sorted(numbers) and {clip.number for clip in clips if clip.missing} <= set(numbers)
    for batch in batches:
        assert len(batch) <= size and len({clip.kind for clip in batch}) == 1
        assert len(batch) == 1 or len(batch) * max(clip.size for clip in batch) <= most


def test_the_options_of_executors_are_checked():
    with pytest.raises(UserError, match="workers 0: out of range"):
        ExecutionOptions(workers=0)
