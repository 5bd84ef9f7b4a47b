"""The command line: one verb per file. Heavy imports happen when a verb runs, so `--help` is fast."""

import io
import sys
from importlib import import_module
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from audiodiff import __version__
from audiodiff.cli import renamed
from audiodiff.cli.sections import SECTIONS, Group
from audiodiff.errors import UserError, warn_in_one_line

INTERRUPTED = 130
VERBS = tuple(verb for verbs in SECTIONS.values() for verb in verbs)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"audiodiff {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """Build the application: each verb is the function of its name in the module of its name, with _ for -.

    A module with `SUBVERBS` becomes a group: the verb alone runs its function; followed by a name of `SUBVERBS`, that
    function.
    """
    app = typer.Typer(
        cls=Group,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Train, evaluate and use diffusion models for audio.",
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
            app.command(verb, cls=renamed.Command, **settings)(getattr(module, name))
    for verb in renamed.VERBS:
        ignored = {"allow_extra_args": True, "ignore_unknown_options": True}
        app.command(verb, hidden=True, context_settings=ignored, add_help_option=False)(_refuse_verb)
    return app


def _refuse_verb(context: typer.Context) -> None:
    renamed.refuse(renamed.VERBS, [context.info_name or ""])


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Train, evaluate and use diffusion models for audio."""


def main() -> None:
    """Entry point of the console script: bad input prints one line and exits with status 1, Ctrl-C with 130."""
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
        print("interrupted; finished files are kept, rerun the same command to resume", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)
