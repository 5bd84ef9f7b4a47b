"""The page on explanations: its Python runs, and its picture has the size of one that the command draws."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_python_of_the_page_runs(capsys):
    text = (ROOT / "docs" / "explaining.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    exec(compile(block, "explaining.md", "exec"), {})
    *steps, last = capsys.readouterr().out.splitlines()
    assert len(steps) == 4 and all("'scalars': 0.0" in line and "'prompt'" in line for line in steps)
    assert last == "['a', 'small', 'bell', '(nothing)'] torch.Size([64, 4])"
