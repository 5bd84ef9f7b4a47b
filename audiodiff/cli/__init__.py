"""The command line: one verb per file. Heavy imports happen when a verb runs, so `--help` is fast."""

import io
import sys
from importlib import import_module
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from audiodiff import __version__
from audiodiff.errors import UserError, warn_in_one_line

INTERRUPTED = 130
VERBS = ("train", "render", "generate", "evaluate", "curve", "fit-grid", "prepare", "publish", "demo", "info", "doctor")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"audiodiff {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The application: each verb is the function of its own name in the module of its own name, _ for -.

    A module with `SUBVERBS` makes a group: the verb alone runs its function, followed by a name that of `SUBVERBS`.
    """
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Train, judge and use diffusion models of sound.",
    )
    app.callback()(_options)
    for verb in VERBS:
        name = verb.replace("-", "_")
        module = import_module(f"audiodiff.cli.{name}")
        settings, verbs_below = getattr(module, "SETTINGS", {}), getattr(module, "SUBVERBS", {})
        if verbs_below:
            group = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
            group.callback()(getattr(module, name))
            for below, function in verbs_below.items():
                group.command(below)(function)
            app.add_typer(group, name=verb, **settings)
        else:
            app.command(verb, **settings)(getattr(module, name))
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Train, judge and use diffusion models of sound."""


def main() -> None:
    """Entry point of the console script: bad input becomes one line and status 1, Ctrl-C becomes 130."""
    warn_in_one_line()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for paths that are not UTF-8
    try:
        status = build()(prog_name="audiodiff", standalone_mode=False)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except TyperException as error:
        error.show()
        status = error.exit_code
    except (KeyboardInterrupt, Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:  # which Typer answers by itself where it catches Ctrl-C first
        print("stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)
