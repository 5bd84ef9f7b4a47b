"""What is resumed trains what it has trained, however it began; what was started from another model says so."""

import json
import shutil

import pytest
import torch

from audiodiff import Vocoder, config, runs, train
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.models import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")
SMOKE = ("+recipe=speech_mel", "debug=smoke", "callbacks.samples.clips=0", "data.crop_samples=4096")
GRID = StoredGrid("ddim", 2, [1.0, 0.5, 0.0])  # from pure noise, where an epsilon model cannot start


def run(folder, *words) -> checkpoint.Checkpoint:
    """The model that a run of one step exports, or of as many as `words` say."""
    train.run(config.compose([*SMOKE, f"folder={folder}", "trainer.max_steps=1", *words]), folder)
    return checkpoint.load(folder / "model")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A model that predicts v, with a time grid that starts at pure noise."""
    folder = tmp_path_factory.mktemp("first")
    run(folder)
    shutil.copytree(folder / "model", folder / "fitted")
    with_grid = Vocoder.from_pretrained(folder / "model").model.with_arguments(grids=[GRID])
    with_grid.save_pretrained(folder / "fitted", checkpoint.load(folder / "model").training | {"licenses": ["X-1.0"]})
    return folder / "fitted"


@pytest.mark.parametrize("objective", ["v", "epsilon", "x0", "flow"])
def test_init_from_resume_and_objective(first, objective, tmp_path):
    """Grids go along where sampling starts alike, also after a resume, and every export loads and speaks."""
    began = run(tmp_path, f"init_from={first}", f"objective={objective}")
    expected = checkpoint.describe([GRID] if objective == "v" else [])
    for steps, resume in ((1, ()), (2, ("resume=last",)), (3, ("resume=last",))):
        if resume:
            run(tmp_path, f"objective={objective}", f"trainer.max_steps={steps}", *resume)
        vocoder = Vocoder.from_pretrained(tmp_path / "model")
        assert checkpoint.describe(list(vocoder.model.grids)) == expected
        assert checkpoint.describe(vocoder.model.objective)["type"] == objective
        assert vocoder.generate(torch.full((80, 5), -4.0), steps=2).samples.isfinite().all()
        assert vocoder.training["steps"] == steps
        assert vocoder.training["started_from"] == began.training["started_from"]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["objective=epsilon"], "objective v -> epsilon"),
        (["prior=energy", "schedule=linear_beta"], "schedule cosine -> linear_beta; prior mel_prior -> energy_prior"),
        (["network.channels=[48,48]"], r"network.channels \[32, 32\] -> \[48, 48\]"),
        (
            ["task=few_step", "sampler=ddim"],
            "task VocoderTask -> FewStepTask",
        ),
        (["task.stft_weight=2"], r"task.stft_weight 1.0 -> 2"),
        (["timestep_sampling=uniform"], "task.timestep_sampling LowDiscrepancy -> Uniform"),
        (["trainable=[norms]"], r'tuning.trainable null -> \["norms"\]'),
        (
            ["tuning.pull=0.1", "tuning.rates={norms: 0.5}"],
            r'tuning.rates null -> {"norms": 0.5}; tuning.pull 0 -> 0.1',
        ),
        (["audio=hifigan_22k", "data.sample_rate=16000"], "mel_spec.sample_rate 16000 -> 22050"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_run_that_would_train_something_else_is_refused(first, words, changes, tmp_path):
    shutil.copytree(first.parent / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(UserError, match=rf"run -> now: .*{changes}.*init_from={tmp_path / 'model'}") as caught:
        run(tmp_path, "resume=last", "trainer.max_steps=2", *words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_other_data_is_refused(first, tmp_path):
    shutil.copytree(first.parent / "checkpoints", tmp_path / "checkpoints")
    shutil.copytree(first.parent / "tones", tmp_path / "tones")
    manifest = tmp_path / "tones" / "manifest.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=rf"{manifest.parent}: the training clips .* \(\d+ clips then, \d+ now\)"):
        run(tmp_path, "resume=last", "trainer.max_steps=2")


def test_what_may_change_does(first, tmp_path):
    shutil.copytree(first.parent / "checkpoints", tmp_path / "checkpoints")
    words = ("optimizer.lr=1e-4", "sampler=ddim", "logger=csv", "+network.gradient_checkpointing=true")
    model = run(tmp_path, "resume=last", "trainer.max_steps=2", *words)
    assert model.training["steps"] == 2 and model.arguments["settings"][0].sampler == "ddim"


def test_a_run_of_an_earlier_version_is_refused_in_one_line(first, tmp_path):
    """By its checkpoint, or before anything is composed by its overrides."""
    name = "checkpoints/step=000000001.ckpt"
    saved = torch.load(first.parent / name, weights_only=True)
    saved["run"]["training"] = saved["run"].pop("task")
    (tmp_path / "checkpoints").mkdir()
    torch.save(saved, tmp_path / name)
    (tmp_path / runs.OVERRIDES).write_text("- recipe=speech_mel\n- training.levelled=false\n")
    for refused in (
        lambda: run(tmp_path, "resume=last", "trainer.max_steps=2"),
        lambda: runs.resume_arguments([f"resume={tmp_path}"]),
    ):
        with pytest.raises(UserError, match=rf"earlier version.*init_from={tmp_path / 'model'}$") as caught:
            refused()
        assert "\n" not in str(caught.value)


def test_a_model_says_all_stages_of_its_training(first, tmp_path):
    second = run(tmp_path / "second", f"init_from={first}")
    third = run(tmp_path / "third", f"init_from={tmp_path / 'second' / 'model'}", "trainer.max_steps=2")
    started = third.training["started_from"]
    assert (started["hash"], started["started_from"]["hash"]) == (second.digest, checkpoint.load(first).digest)
    card = (tmp_path / "third" / "model" / "README.md").read_text()
    assert card.count("of its weights: 1 steps on") == 2 and "X-1.0" in card  # the first one's license
    assert "Earlier training" not in (first.parent / "model" / "README.md").read_text()


def test_a_run_that_another_process_trains_is_refused(first, tmp_path):
    shutil.copytree(first.parent / "checkpoints", tmp_path / "checkpoints")
    with folder_lock(tmp_path), pytest.raises(UserError, match=r"is in use by process \d+ on "):
        run(tmp_path, "resume=last", "trainer.max_steps=2")
    assert run(tmp_path, "resume=last", "trainer.max_steps=2").training["steps"] == 2


def test_what_is_no_run_is_named_before_anything_is_created(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "step=000000001.ckpt").write_bytes(b"")
    for resume, problem in (
        ("last", r"resume=last: there is no run in runs/speech_mel; name its recipe"),
        ("step=000000001.ckpt", r"resume=step=000000001.ckpt: is a file; give the folder of the run"),
    ):
        with pytest.raises(UserError, match=problem):
            runs.resume_arguments(["+recipe=speech_mel", f"resume={resume}"])
    assert [path.name for path in tmp_path.iterdir()] == ["step=000000001.ckpt"]


def test_a_command_line_is_completed_by_that_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "speech_mel" / "2026-01-01_00-00-00"
    (folder / "checkpoints").mkdir(parents=True)
    runs.save_overrides(
        folder, ["+recipe=speech_mel", "objective=epsilon", "trainer.max_steps=10", "init_from=a", "resume=last"]
    )
    where = 'resume="runs/speech_mel/2026-01-01_00-00-00"'
    began = ["recipe=speech_mel", "objective=epsilon", "init_from='a'"]  # as Hydra reads them
    for words in (["resume=last", "recipe=speech_mel"], [where]):
        completed = runs.resume_arguments([*words, "trainer.max_steps=20"])
        assert set(completed) == {*began, where, "trainer.max_steps=20"} and len(completed) == 5
        cfg = config.compose(completed)
        assert cfg.objective._target_.endswith("Epsilon") and cfg.trainer.max_steps == 20
        assert runs.resume_arguments(completed) == completed  # as the processes of further devices read it
    assert runs.resume_arguments(["+recipe=speech_mel"]) == ["+recipe=speech_mel"]
    assert set(runs.resume_arguments([where, f"init_from={tmp_path}/./a"])) == {
        *began, "trainer.max_steps=10", where
    }  # fmt: skip
    for other in ("b", "null"):
        with pytest.raises(UserError, match=r"init_from=.*: the run .* from a; leave it out"):
            runs.resume_arguments([where, f"init_from={other}"])


def test_what_is_changed_on_resume_belongs_to_the_recipe_of_the_run(tmp_path):
    runs.save_overrides(tmp_path, ["+recipe=drums"])
    resume = f"resume={tmp_path}"
    words = ["callbacks.samples.clips=2", "data.labels=[a,b]"]
    cfg = config.compose(config.check(runs.resume_arguments([resume, *words])))
    assert cfg.callbacks.samples.clips == 2 and cfg.data.labels == ["a", "b"]
    with pytest.raises(UserError, match=r"callbacks\.samplers: .*did you mean callbacks\.samples\?"):
        config.check(runs.resume_arguments([resume, "callbacks.samplers=null"]))


def test_a_resume_that_fails_changes_nothing_for_the_next(first, tmp_path):
    shutil.copytree(first.parent / "checkpoints", tmp_path / "checkpoints")
    runs.save_overrides(tmp_path, SMOKE)

    def resume(*words):
        overrides = runs.resume_arguments([f"resume={tmp_path}", *words])
        train.run(config.compose([*overrides, f"folder={tmp_path}"]), tmp_path, overrides)

    with pytest.raises(Exception, match="accelerator"):
        resume("trainer.accelerator=nowhere", "trainer.max_steps=2")
    assert runs.saved_overrides(tmp_path) == config.check(SMOKE)
    resume("trainer.max_steps=2")
    assert "trainer.max_steps=2" in runs.saved_overrides(tmp_path)


def test_two_runs_of_one_second_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "speech_mel" / "now").mkdir(parents=True)  # of another process
    names = [runs.run_folder("speech_mel", None, "now") for _ in range(2)]
    assert names == ["runs/speech_mel/now_2"] * 2 and (tmp_path / names[0]).is_dir()
    (tmp_path / "runs" / "other").write_text("")
    with pytest.raises(UserError, match=r"other/now: cannot be created \(Not a directory\)"):
        runs.run_folder("other", None, "now")


def test_a_checkpoint_says_what_the_run_trains_without_code(first):
    saved = torch.load(first.parent / "checkpoints" / "step=000000001.ckpt", weights_only=True)
    assert json.loads(json.dumps(saved["run"])) == saved["run"]
    assert saved["run"]["model"]["objective"] == {"type": "v", "weighting": None}
