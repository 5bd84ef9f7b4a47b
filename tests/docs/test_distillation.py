"""The code on `docs/distillation.md` runs, and prints the table that the page shows."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "distillation.md"


def test_code_runs_and_prints_what_the_page_shows(capsys):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec("\n".join(code for language, code in blocks if language == "python"), {"__name__": "page"})
    (table,) = [code for language, code in blocks if not language]
    assert capsys.readouterr().out.strip() == table.strip()
