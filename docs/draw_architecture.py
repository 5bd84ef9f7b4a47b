"""Draw the pictures of `docs/architecture.md`.

`python docs/draw_architecture.py` writes `docs/images/layers.svg`, from the layers that import-linter holds
(`pyproject.toml`) and the first line of each package's docstring, and `docs/images/data_flow.svg`. Run it after either
changes: a test compares the committed files with what this script draws.
"""

import ast
import textwrap
import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH, MARGIN, GAP, PADDING = 1080, 24, 10, 12
# Width of a letter and height of a line in pixels, by class of text; letters of the widest font that may be chosen.
LETTERS = {"name": (9.1, 22), "text": (7.0, 18), "code": (7.4, 17)}
STYLE = """
text { font-family: -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-size: 13px; fill: #24292f; }
.name { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 15px; font-weight: 600; }
.code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12px; fill: #57606a; }
.note { fill: #57606a; }
path { stroke: #57606a; stroke-width: 1.5; fill: none; marker-end: url(#head); }
"""
ARROWHEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" style="fill:#57606a;stroke:none;marker-end:none"/></marker>'
)
COMMANDS, TRAINING, EVALUATION, MODELS, PARTS, PLAIN = (
    "#ddf4ff", "#fff1e5", "#fbefff", "#dafbe1", "#fff8c5", "#f6f8fa"
)  # fmt: skip
KINDS = {
    COMMANDS: ("cli", "demo", "train"),
    TRAINING: ("training", "data", "compression", "fine_tuning"),
    EVALUATION: ("evaluation", "metrics", "rendering", "export"),
    MODELS: ("pipelines", "models", "conditioners"),
    PARTS: ("diffusion", "nn", "audio", "text"),
}
COLORS = {package: color for color, packages in KINDS.items() for package in packages}
LEGEND = {
    COMMANDS: "commands",
    TRAINING: "data and training",
    EVALUATION: "files and scores",
    MODELS: "models in use",
    PARTS: "building blocks",
}


def layers() -> list[list[str]]:
    """The packages of each layer, top layer first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    rows = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip(" ()").removeprefix("audiodiff.") for name in row.replace(":", "|").split("|")] for row in rows]


def summary(package: str) -> str:
    """First line of the docstring of a package or module."""
    path = ROOT / "audiodiff" / package
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("`", "")


def subpackages(package: str) -> str:
    """Names of the packages inside a package."""
    names = sorted(path.parent.name for path in (ROOT / "audiodiff" / package).glob("*/__init__.py"))
    return " ".join(f"{name}/" for name in names)


def wrapped(kind: str, text: str, width: float) -> list[tuple[str, str]]:
    """(class, text) of each line of a text in a box of a width."""
    letters = int((width - 2 * PADDING) / LETTERS[kind][0])
    return [(kind, line) for line in textwrap.wrap(text, letters, break_on_hyphens=False)]


def height_of(lines: list[tuple[str, str]]) -> float:
    """Height of a box with these lines."""
    return sum(LETTERS[kind][1] for kind, _ in lines) + PADDING


def box(left: float, top: float, width: float, height: float, color: str, lines: list[tuple[str, str]]) -> list[str]:
    """A rounded box with lines of text."""
    shapes = [
        f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6" fill="{color}" stroke="#d0d7de"/>'
    ]
    baseline = top
    for kind, text in lines:
        baseline += LETTERS[kind][1]
        shapes.append(f'<text x="{left + PADDING:g}" y="{baseline:g}" class="{kind}">{escape(text)}</text>')
    return shapes


def picture(title: str, height: float, shapes: list[str]) -> str:
    """An SVG document."""
    size = f'width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">'
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ARROWHEAD, ground, *shapes, "</svg>"]) + "\n"


def draw_layers() -> str:
    """The layers, top to bottom."""
    note = "A package imports only from the layers below it. Packages side by side do not import each other."
    shapes, top = [f'<text x="{MARGIN}" y="{MARGIN + 10}" class="note">{note}</text>'], MARGIN + 26.0
    for row in layers():
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        boxes = {
            package: [
                ("name", package),
                *wrapped("text", summary(package), width),
                *wrapped("code", subpackages(package), width),
            ]
            for package in row
        }
        height = max(map(height_of, boxes.values()))
        for column, (package, lines) in enumerate(boxes.items()):
            shapes += box(MARGIN + column * (width + GAP), top, width, height, COLORS.get(package, PLAIN), lines)
        top += height + GAP
    left = float(MARGIN)
    for color, text in LEGEND.items():
        shapes.append(f'<rect x="{left:g}" y="{top + 4:g}" width="14" height="14" fill="{color}" stroke="#d0d7de"/>')
        shapes.append(f'<text x="{left + 20:g}" y="{top + 16:g}" class="note">{text}</text>')
        left += 52 + len(text) * 6
    return picture("The layers of audiodiff", top + 18 + MARGIN, shapes)


FLOWS = (
    (
        "Generation",
        (
            (PLAIN, "request", "mel, labels, tempo, reference clip, seed"),
            (MODELS, "conditioners", "inputs of the network: tokens, global vector, frames, signals"),
            (PARTS, "denoiser", "network, schedule, objective: estimates E[x0\u00a0|\u00a0x_t]"),
            (PARTS, "sampler", "noise to x0 in N steps, each one call of the denoiser"),
            (MODELS, "model.restore", "prior, average spectrum or codec: x0 to waveform"),
            (PLAIN, "audio", "Audio in Python, or a file with a sidecar"),
        ),
    ),
    (
        "Training",
        (
            (PLAIN, "recordings", "files of any format"),
            (TRAINING, "data", "manifest, splits, random crops by seed and draw"),
            (MODELS, "conditioners", "the same list, with condition dropout"),
            (TRAINING, "task", "loss(model, batch, rng), on timesteps spread over the batch"),
            (TRAINING, "training", "Lightning: optimizer, EMA, exact resume"),
            (PLAIN, "checkpoint", "config.json, model.safetensors, README.md"),
        ),
    ),
)


def draw_data_flow() -> str:
    """What passes through which part, left to right: generation, and training."""
    shapes, top, space = [], float(MARGIN), 22
    for title, stations in FLOWS:
        shapes.append(f'<text x="{MARGIN}" y="{top + 12:g}" class="name">{title}</text>')
        top += 26
        width = (WIDTH - 2 * MARGIN - space * (len(stations) - 1)) / len(stations)
        boxes = [(color, [("name", name), *wrapped("text", text, width)]) for color, name, text in stations]
        height = max(height_of(lines) for _, lines in boxes)
        for column, (color, lines) in enumerate(boxes):
            left = MARGIN + column * (width + space)
            shapes += box(left, top, width, height, color, lines)
            if column:
                shapes.append(f'<path d="M{left - space + 2:g},{top + 18:g} H{left - 2:g}"/>')
            if lines[0][1] == "sampler":  # asks the denoiser again at every step
                bottom, back = top + height, left - space - width / 2
                shapes.append(f'<path d="M{left + width / 2:g},{bottom:g} v14 H{back:g} v-12"/>')
                shapes.append(f'<text x="{left - space / 2 - 22:g}" y="{bottom + 30:g}" class="note">N steps</text>')
        top += height + 46
    return picture("How audio is generated, and how a model is trained", top - 20, shapes)


PICTURES = {"layers.svg": draw_layers, "data_flow.svg": draw_data_flow}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / name).write_text(draw(), encoding="utf-8")
        print(f"written: {IMAGES / name}")
