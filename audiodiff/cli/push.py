"""`audiodiff push`: upload a model or an adapter to a hub."""

from pathlib import Path
from typing import Annotated

import typer


def push(
    model: Annotated[Path, typer.Argument(help="Model or adapter folder, or the name of a shipped model.")],
    repository: Annotated[str, typer.Argument(help="Repository OWNER/NAME, created if there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    revision: Annotated[str, typer.Option(help="Branch to upload to (default: the main one).")] = "",
    message: Annotated[str, typer.Option(help="Message of the commit (default: names the model).")] = "",
) -> None:
    """Upload a model or an adapter to the Hugging Face hub, or to the one that HF_ENDPOINT names.

    The card's front matter is completed: task, licenses of the training data, tags. Log in with `hf auth login`, or
    set HF_TOKEN.
    """
    from audiodiff.export.push import push_to_hub

    print(push_to_hub(model, repository, private, revision, message))
