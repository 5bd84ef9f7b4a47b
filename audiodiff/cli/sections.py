"""The verbs in sections: `audiodiff --help` lists them by what they are for."""

from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer import Context

SECTIONS = {
    "Make sound": ("say", "generate", "edit", "render", "upsample", "restore", "demo"),
    "Data and training": ("prepare", "align", "train"),
    "Adapters and weights": ("adapt", "merge", "blend", "compress"),
    "Defaults of a model": ("setting", "guidance", "fit-grid"),
    "Measure and explain": ("evaluate", "benchmark", "report", "listen", "explain"),
    "Publish": ("publish", "push", "export"),
    "Look and check": ("search", "info", "doctor"),
}
_LONG = 500  # characters of a summary that are shown, which is its first sentence


class Group(TyperGroup):
    """The group of all verbs, whose help has sections and whole sentences."""

    def format_commands(self, ctx: "Context", formatter) -> None:
        """Write the verbs by section."""
        width = max(map(len, self.commands))
        for section, verbs in SECTIONS.items():
            rows = [(verb.ljust(width), self.commands[verb].get_short_help_str(_LONG)) for verb in verbs]
            with formatter.section(section):
                formatter.write_dl(rows)
