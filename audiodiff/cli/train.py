"""`audiodiff train`: the training command of train.py under another name."""

import runpy
import sys

import typer

from audiodiff.extras import require

# Everything behind the verb, `--help` and `-m` included, is Hydra's.
SETTINGS = {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}, "add_help_option": False}


def train(context: typer.Context) -> None:
    """Train a model: audiodiff train +recipe=speech_mel [key=value ...]; --help shows the configuration."""
    require("train")
    sys.argv = ["audiodiff train", *context.args]
    # As the main module, which the processes of further devices are started as.
    runpy.run_module("audiodiff.train", run_name="__main__", alter_sys=True)
