"""`audiodiff train`: the training command `train.py` as a verb."""

import runpy
import sys

import typer

from audiodiff.extras import require

# All that follows the verb, --help included, is for Hydra.
SETTINGS = {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}, "add_help_option": False}
MULTIRUN = ("-m", "--multirun")


def train(context: typer.Context) -> None:
    """Train a model: audiodiff train +recipe=speech_mel [key=value ...]; --help shows the configuration."""
    require("train")
    # Hydra takes -m before or behind the overrides, but not among them.
    sys.argv = ["audiodiff train", *sorted(context.args, key=lambda word: word not in MULTIRUN)]
    # As the main module, which the processes of further devices are started as.
    runpy.run_module("audiodiff.train", run_name="__main__", alter_sys=True)
