"""Many clips to files: the same whatever the batch and the interruptions."""

import errno
import json
from dataclasses import replace

import pytest
import torch

from audiodiff.audio import io
from audiodiff.audio.loudness import normalize_peak
from audiodiff.cli import build as application
from audiodiff.cli import main
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.rendering import sidecar, spool
from audiodiff.rendering.generation import generate
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.sidecar import sidecar_path

TWO = GenerationConfig(steps=2)
TONE = io.Audio((0.05 * torch.arange(4000)).sin() / 2, 8000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_music):
    path = tmp_path_factory.mktemp("model")
    make_music().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def generator(folder):
    return AudioGenerator.from_pretrained(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def test_files_are_the_clips(generator, tmp_path):
    outcome = generate(
        generator, tmp_path, GenerationConfig(steps=2, seed=4, conditions={"labels": ["kick"]}), count=3, quiet=True
    )
    assert (outcome.written, outcome.skipped) == (3, 0)
    expected = generator.generate(seed=4, count=3, steps=2, labels=("kick",)).samples
    for number in range(3):
        found = io.read(tmp_path / f"{number:04d}.wav", channels=2)
        torch.testing.assert_close(found.samples, expected[number], rtol=0, atol=1.01 / 32768)
        told = json.loads(sidecar_path(tmp_path / f"{number:04d}.wav").read_text())
        assert (told["labels"], told["steps"], told["clip_seed"]) == (["kick"], 2, clip_seeds(4, 3)[number])


def test_a_command_goes_on_where_it_was_stopped(generator, tmp_path, monkeypatch):
    generate(generator, tmp_path / "whole", TWO, count=7, files=FileOptions(batch_size=7), quiet=True)
    calls = []
    made = generator.chunks

    def stopping(config, seeds, *arguments, **options):
        calls.append(len(seeds))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return made(config, seeds, *arguments, **options)

    monkeypatch.setattr(generator, "chunks", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate(generator, tmp_path / "parts", TWO, count=7, files=FileOptions(batch_size=2), quiet=True)
    monkeypatch.undo()
    outcome = generate(generator, tmp_path / "parts", TWO, count=7, files=FileOptions(batch_size=3), quiet=True)
    assert (outcome.written, outcome.skipped) == (3, 4)
    assert contents(tmp_path / "parts").keys() == contents(tmp_path / "whole").keys()
    for number in range(7):
        one, other = (io.read(tmp_path / name / f"{number:04d}.wav").samples for name in ("parts", "whole"))
        torch.testing.assert_close(one, other, rtol=0, atol=2 / 32768)


def test_what_was_made_otherwise_is_replaced_when_that_is_said(generator, tmp_path):
    generate(generator, tmp_path, TWO, count=2, quiet=True)
    before = contents(tmp_path)
    changes = [{"seed": 1}, {"steps": 3}, {"conditions": {"labels": ["kick"]}}, {"seconds": 0.1}, {"loop": True}]
    changes += [{"continue_from": TONE}, {"init_audio": TONE}, {"init_audio": TONE, "init_noise_level": 0.1}]
    for change in changes:
        wanted = replace(TWO, **change)
        name = "seed" if "seed" in change else ".*"
        with pytest.raises(UserError, match=rf"0000\.wav: was made with another {name} \(.* choose another --out"):
            generate(generator, tmp_path, wanted, count=2, quiet=True)
        assert contents(tmp_path) == before
        assert (
            generate(generator, tmp_path, wanted, count=2, files=FileOptions(overwrite=True), quiet=True).written == 2
        )
        assert contents(tmp_path) != before
        generate(generator, tmp_path, TWO, count=2, files=FileOptions(overwrite=True), quiet=True)
        assert contents(tmp_path) == before
    assert generate(generator, tmp_path, TWO, count=3, quiet=True).skipped == 2


def test_clips_of_an_older_version_are_skipped(generator, tmp_path):
    """Version 1 had other names, no entry of conditions that it did not know, and a noise level only of variations."""
    config = replace(TWO, init_audio=TONE, init_noise_level=0.1)
    for name, made in (("plain", TWO), ("varied", config)):
        generate(generator, tmp_path / name, made, count=2, quiet=True)
        for path in (tmp_path / name).glob("*.json"):
            entries = {
                sidecar_name: value
                for sidecar_name, value in json.loads(path.read_text()).items()
                if value is not None or sidecar_name in ("seconds", "tempo", "continue_from", "init_audio")
            }
            old = {today: earlier for earlier, today in sidecar.RENAMED.items()}
            path.write_text(json.dumps({old.get(key, key): value for key, value in entries.items()} | {"version": 1}))
        assert '"nfe"' in path.read_text() and '"steps"' not in path.read_text()
        assert generate(generator, tmp_path / name, made, count=2, quiet=True).skipped == 2
        with pytest.raises(UserError, match="another steps"):
            generate(generator, tmp_path / name, replace(made, steps=3), count=2, quiet=True)


def test_a_clip_that_was_begun_is_made(generator, tmp_path):
    """The audio is there, its sidecar no more than claimed: the work stopped between the two."""
    generate(generator, tmp_path, TWO, count=1, quiet=True)
    before, sidecar = contents(tmp_path), sidecar_path(tmp_path / "0000.wav")
    claim = {name: value for name, value in json.loads(sidecar.read_text()).items() if name in ("sidecar", "version")}
    sidecar.write_text(json.dumps(claim))
    assert generate(generator, tmp_path, TWO, count=1, quiet=True).written == 1
    assert contents(tmp_path) == before


def test_a_sidecar_that_cannot_be_read_is_one_line(generator, tmp_path, monkeypatch):
    generate(generator, tmp_path, TWO, count=1, quiet=True)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(UserError, match=r"0000\.wav\.json: cannot be read \(Permission denied\)"):
        generate(generator, tmp_path, TWO, count=1, quiet=True)


def test_files_of_others_are_left_alone(generator, tmp_path):
    (tmp_path / "0001.wav").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"0001\.wav: exists and is not from"):
        generate(generator, tmp_path, TWO, count=2, quiet=True)
    assert (tmp_path / "0001.wav").read_bytes() == b"mine" and not (tmp_path / "0000.wav").exists()


@pytest.mark.parametrize("change", [{"count": 0}, {"sampler": "x"}, {"conditions": {"labels": ["gong"]}}])
def test_settings_that_cannot_be(generator, tmp_path, change):
    count = change.pop("count", 1)
    with pytest.raises(UserError):
        generate(generator, tmp_path / "out", replace(TWO, **change), count=count, quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("peak", [0.5, None])
def test_a_spool_levels_as_whole_clips_are(peak, monkeypatch):
    monkeypatch.setattr(spool, "_BLOCK", 64)
    clips = torch.randn(3, 2, 1000) + 0.3
    with spool.Spool() as kept:
        for first in range(0, 1000, 130):
            kept.add(clips[..., first : first + 130])
        assert (kept.samples, kept.channels) == (1000, 2) and kept.finite.all()
        expected = clips if peak is None else normalize_peak(clips, peak)
        for number in (2, 0, 0):
            found = torch.cat(list(kept.clip(number, peak)), dim=-1)
            torch.testing.assert_close(found, expected[number])
        broken = torch.zeros(3, 2, 1)
        broken[1] = torch.nan
        kept.add(broken)
        assert kept.finite.tolist() == [True, False, True]


def test_scratch_files_take_what_fits(limit_files):
    with limit_files(2000), spool.Spool() as scratch:
        for _ in range(5):
            scratch.add(torch.ones(1, 1, 100))
        assert sum(piece.shape[-1] for piece in scratch.clip(0, None)) == 500


@pytest.mark.parametrize("samples", [1, 100_000])
def test_a_full_scratch_folder_is_one_line(limit_files, samples):
    """Whatever a buffer holds: a full disk is met where it is reported, and not once more at the end of the block."""
    with (
        limit_files(2000),
        pytest.raises(UserError, match=r"scratch files \(File too large\)") as error,
        spool.Spool() as scratch,
    ):
        scratch.add(torch.ones(1, 1, 500))
        scratch.add(torch.ones(1, 1, samples))
        pytest.fail("the file holds no more")
    assert "\n" not in str(error.value)


def test_a_clip_that_is_not_finite_costs_no_other(folder, tmp_path, monkeypatch, capsys):
    chunks = AudioGenerator.chunks

    def broken(self, config, seeds, *arguments):
        for piece in chunks(self, config, seeds, *arguments):
            for row, seed in zip(piece, seeds, strict=True):
                if seed == clip_seeds(0, 3)[1]:
                    row[:, 7] = torch.nan
            yield piece

    monkeypatch.setattr(AudioGenerator, "chunks", broken)
    with pytest.raises(UserError, match=r"0001\.wav: .*not finite"):
        generate(AudioGenerator.from_pretrained(folder), tmp_path / "raised", TWO, count=3, quiet=True)
    words = ["generate", "--model", folder, "--out", tmp_path / "out", "--count", 3, "--steps", 2, "--batch-size", 2]
    monkeypatch.setattr("sys.argv", ["audiodiff", *map(str, words)])
    for kept in (0, 2):
        with pytest.raises(SystemExit) as ended:
            main()
        printed, errors = capsys.readouterr()
        assert ended.value.code == 1 and printed.startswith(f"{2 - kept} generated, {kept} skipped (exist), 1 failed")
        assert errors.startswith(f"error: {tmp_path / 'out' / '0001.wav'}: ") and errors.count("\n") == 1
    assert sorted(contents(tmp_path / "out")) == ["0000.wav", "0002.wav"]


@pytest.mark.parametrize(("guidance", "fix"), [(1.0, "use float32"), (3.0, "lower the guidance")])
def test_the_fix_of_a_guided_clip_names_the_guidance(make_music, tmp_path, guidance, fix):
    model = make_music()
    torch.nn.init.constant_(next(model.network.parameters()), torch.inf)
    config = replace(TWO, conditions={"labels": ["kick"]}, guidance_scale=guidance)
    with pytest.raises(UserError, match=f"not finite after .*; {fix}"):
        generate(AudioGenerator(model), tmp_path, config, quiet=True)


def test_without_any_scratch_folder_there_is_one_line(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(spool.tempfile, "gettempdir", refuse)
    with spool.Spool() as scratch, pytest.raises(UserError, match="TMPDIR"):
        scratch.add(torch.zeros(1, 1, 8))


@pytest.mark.parametrize("format", io.FORMATS)
def test_a_full_disk_leaves_nothing_half(generator, tmp_path, monkeypatch, limit_files, format):
    generate(generator, tmp_path, TWO, count=1, files=FileOptions(format=format), quiet=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    store = sidecar.write_with_sidecar

    def store_on_a_full_disk(*arguments):
        with limit_files(1000):
            store(*arguments)

    monkeypatch.setattr(sidecar, "write_with_sidecar", store_on_a_full_disk)
    with pytest.raises(UserError, match="cannot be written") as error:
        generate(generator, tmp_path, TWO, count=3, files=FileOptions(format=format), quiet=True)
    assert "\n" not in str(error.value) and "0001" in error.value.subject
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("option", ["--continue-from", "--init-audio"])
def test_an_unfit_clip_is_named(folder, tmp_path, option, monkeypatch, capsys):
    io.write(tmp_path / "still.wav", io.Audio(torch.zeros(4000), 8000))
    words = ["generate", "--model", folder, "--out", tmp_path / "out", option, tmp_path / "still.wav"]
    monkeypatch.setattr("sys.argv", ["audiodiff", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'still.wav'}: ") and "silent" in line


def test_the_verb(folder, tmp_path, capsys):
    arguments = ["generate", "--model", str(folder), "--out", str(tmp_path / "out"), "--count", "2", "--steps", "2"]
    application()([*arguments, "--label", "snare", "--guidance-scale", "2"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("2 generated, 0 skipped")
    assert len(contents(tmp_path / "out")) == 2


def test_the_verb_goes_on_and_varies(folder, tmp_path, capsys):
    io.write(tmp_path / "tone.wav", TONE)
    arguments = ["generate", "--model", str(folder), "--steps", "2"]
    for words, samples in (
        (["--continue-from", tmp_path / "tone.wav", "--seconds", "0.25"], 6000),
        (["--init-audio", tmp_path / "tone.wav", "--noise-level", "0.3"], 4000),
        (["--loop", "--seconds", "1"], 8000),
    ):
        out = tmp_path / words[0]
        application()([*arguments, *map(str, words), "--out", str(out)], standalone_mode=False)
        assert io.probe(out / "0000.wav").samples == samples
    with pytest.raises(UserError, match="exclusive"):
        application()(
            [*arguments, "--loop", "--continue-from", str(tmp_path / "tone.wav"), "--out", "x"], standalone_mode=False
        )


def test_files_are_named_by_a_template_and_batches_fit_into_their_memory(generator, tmp_path, monkeypatch):
    seen, chunks = [], AudioGenerator.chunks
    monkeypatch.setattr(AudioGenerator, "chunks", lambda *a: seen.append(len(a[2])) or chunks(*a))
    files = FileOptions(name="kick/{number:03d}", batch_memory=2.5 * generator.memory(TWO) / 1e9)
    generate(generator, tmp_path, TWO, count=5, files=files, quiet=True)
    assert sorted(path.name for path in (tmp_path / "kick").glob("*.wav")) == [f"00{i}.wav" for i in range(1, 6)]
    assert seen == [2, 2, 1]
    with pytest.raises(UserError, match="makes 'kick' of clip 0 and of clip 1"):
        generate(generator, tmp_path, TWO, count=2, files=FileOptions(name="kick"), quiet=True)
