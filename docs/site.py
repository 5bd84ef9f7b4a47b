"""Hooks of MkDocs: the site is the repository's own pages, at their own places.

Pages link to each other, to pictures and sounds, and to source files by relative paths, as a repository's viewer shows
them. So the site has the pages at the top of the repository, those of `docs/`, and every file that one of these links
to. A link to a folder is one to its README. MkDocs then checks each link and anchor (`make docs`).
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(\]\()([^)\s#]+)")
_CODE = re.compile(r"```.*?```", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the pages of `docs/` by those of the repository."""
    for file in list(files):
        if file.abs_src_path and Path(file.abs_src_path).is_relative_to(ROOT / "docs"):
            files.remove(file)
    for path in linked_files([*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    """Let links to folders lead to their README."""
    folder = (ROOT / page.file.src_uri).parent

    def completed(match: re.Match) -> str:
        target = folder / match[2]
        readme = target.is_dir() and (target / "README.md").is_file()
        return f"{match[1]}{match[2].rstrip('/')}/README.md" if readme else match[0]

    return _LINK.sub(completed, markdown)


def linked_files(pages: list[Path]) -> list[Path]:
    """These pages and all files that they link to, and those that the linked pages link to."""
    found, waiting = [], list(pages)
    while waiting:
        path = waiting.pop(0)
        if path in found:
            continue
        found.append(path)
        if path.suffix == ".md":
            waiting += _targets(path)
    return found


def _targets(page: Path) -> list[Path]:
    """The files of the repository that a page links to."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    paths = (Path(os.path.normpath(page.parent / link)) for _, link in _LINK.findall(text) if "://" not in link)
    completed = (path / "README.md" if path.is_dir() else path for path in paths)
    return [path for path in completed if path.is_file() and path.is_relative_to(ROOT)]
