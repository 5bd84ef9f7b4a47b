"""Verbs and options that had another name in an earlier version: each is refused with its name of today."""

from collections.abc import Sequence

from typer.core import TyperCommand

from audiodiff.errors import UserError

VERBS = {"curve": "benchmark"}
OPTIONS = {
    "generate": {
        "--after": "--continue-from",
        "--like": "--init-audio",
        "--strength": "--noise-level",
        "--peak": "--peak-level",
    },
    "benchmark": {"--calls": "--steps", "--judges": "--metrics"},
}


class Command(TyperCommand):
    """A verb that refuses earlier names of its options."""

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            UserError: an option has another name today.
        """
        refuse(OPTIONS.get(ctx.info_name or "", {}), args)
        return super().parse_args(ctx, args)


def refuse(names: dict[str, str], words: Sequence[str]) -> None:
    """Refuse earlier names among the words of a command line.

    Args:
        names: of today, by the earlier one.
        words: of the command line; what follows "--" is no option.

    Raises:
        UserError: one of them is an earlier name.
    """
    for word in words[: words.index("--")] if "--" in words else words:
        name, _, _ = word.partition("=")
        if name in names:
            raise UserError(name, "has been renamed", f"use {names[name]}")
