"""The page docs/distillation.md: its code prints what it shows, its commands train, its teachers fit the recipes."""

import re
import shlex
from pathlib import Path

import pytest
from training.test_distillation_runs import TINY
from typer.testing import CliRunner

from audiodiff import config, schema, train
from audiodiff.cli import build
from audiodiff.models.checkpoint import locate

PAGE = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for language, code in BLOCKS if language == "bash" for line in code.replace("\\\n", "").splitlines()]
TRAININGS = [line.removeprefix("python train.py ") for line in LINES if line.startswith("python train.py")]
# Of the training commands those of the drum model, which a tiny model stands in for here.
DRUMS = [line for line in TRAININGS if "+recipe=drums" in line]
SHORT = ("trainer.max_steps=2", "trainer.val_check_interval=2", "lr_schedule.warmup_steps=1")


def test_code_runs_and_prints_what_the_page_shows(capsys):
    exec("\n".join(code for language, code in BLOCKS if language == "python"), {"__name__": "page"})
    (table,) = [code for language, code in BLOCKS if not language]
    assert capsys.readouterr().out.strip() == table.strip()


@pytest.mark.slow
def test_the_commands_for_drums_train_one_after_the_other_and_generate(tmp_path):
    """As on the page: MODEL is the student before, and `resume=last` goes on with the run before."""
    tiny = [*TINY, f"data.path={tmp_path / 'tones'}"]
    train.run(config.compose(["+recipe=drums", *tiny, *SHORT, f"folder={tmp_path}"]), tmp_path)
    student, folder = tmp_path / "model", tmp_path
    for number, line in enumerate(DRUMS):
        words = [word for word in shlex.split(line) if not re.match(r"trainer\.|task\.stage_steps", word)]
        resumed = "resume=last" in words
        words += ["task.stage_steps=1"] * ("task.student_steps=2" in words)
        folder = folder if resumed else tmp_path / f"run_{number}"
        models = {"init_from=drums": tmp_path / "model", "init_from=MODEL": student}
        words = [f"init_from={models[word]}" if word in models else word for word in words]
        words += [f"folder={folder}", *tiny, *SHORT, "trainer.max_steps=3" if resumed else "trainer.max_steps=2"]
        train.run(config.compose(words), folder)
        student = folder / "model"
        assert (student / "config.json").is_file()
    generations = [shlex.split(line) for line in LINES if line.startswith("audiodiff generate")]
    assert generations
    for number, words in enumerate(generations):
        found = "guidance" in " ".join(words)
        guided = next(tmp_path / f"run_{run}" for run, line in enumerate(DRUMS) if ("drums_guidance" in line) == found)
        changes = {"MODEL": str(guided / "model"), "kick": "low", "kicks": str(tmp_path / f"kicks_{number}"), "8": "2"}
        done = CliRunner().invoke(build(), [changes.get(word, word) for word in words[1:]])
        assert done.exit_code == 0, done.output
        assert len(list((tmp_path / f"kicks_{number}").glob("*.wav"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in TRAININGS if line not in DRUMS])
def test_the_other_commands_start_from_the_model_that_they_name(line, tmp_path):
    """All weights of the teacher fit the model that the command composes, and the task takes it."""
    words = shlex.split(line)
    cfg = config.compose([*words, f"folder={tmp_path}"])
    schema.check(cfg)
    model = schema.build(cfg, "model")
    assert locate(cfg.init_from).is_dir()
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    train.start(model, cfg.init_from)
    changed = sum(not weight.equal(before[name]) for name, weight in model.network.state_dict().items())
    assert changed > 0.9 * len(before)
    task = schema.build(cfg, "task")
    assert task.SAMPLER in (None, model.sampler)
    task.prepare_networks(model)
