"""Faults in the source of a module: one number moved, or one operator exchanged for its inverse.

The fault is result in the syntax tree while the module is imported. No file changes.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import NamedTuple

PACKAGE = "audiodiff.diffusion"
INVERSES = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


class SourceFault(NamedTuple):
    """One change of one node of a module's tree."""

    path: Path
    kind: str
    """number or operator."""
    place: int
    """Position among the nodes of this kind, in source order."""
    line: int
    source: str
    """The line's text."""
    before: str
    after: str

    @property
    def module(self) -> str:
        """Dotted name within audiodiff.diffusion."""
        return module_name(self.path)

    @property
    def home(self) -> str:
        """The test file that runs first, within tests/diffusion."""
        *packages, name = self.module.split(".")
        return "/".join([*packages, f"test_{name}.py"])

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}: {self.before} -> {self.after} in: {self.source}"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Import the module with the fault. It stays, so a process can take one such fault only."""
        name = f"{PACKAGE}.{self.module}"
        assert name not in sys.modules, f"{name} was imported before the fault"
        sys.meta_path.insert(0, _Finder(name, self))
        yield


class _Loader(SourceFileLoader):
    """Compiles a module from its changed tree."""

    def __init__(self, name: str, fault: SourceFault):
        super().__init__(name, str(fault.path))
        self.fault = fault

    def get_code(self, fullname: str):
        tree = ast.parse(self.fault.path.read_text())
        change(nodes(tree, self.fault.kind)[self.fault.place])
        return compile(tree, str(self.fault.path), "exec")


class _Finder:
    """Finds one module only."""

    def __init__(self, name: str, fault: SourceFault):
        self.name, self.fault = name, fault

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.fault.path, loader=_Loader(name, self.fault))


def module_name(path: Path) -> str:
    """The dotted name of a source file within audiodiff.diffusion."""
    parts = path.with_suffix("").parts
    return ".".join(parts[len(parts) - parts[::-1].index("diffusion") :])


def faults(path: Path, kind: str) -> list[SourceFault]:
    """Every fault of a kind in a file."""
    text = path.read_text()
    lines, found = text.splitlines(), []
    for place, node in enumerate(nodes(ast.parse(text), kind)):
        before, line = spelling(node), node.lineno
        change(node)
        found.append(SourceFault(path, kind, place, line, lines[line - 1].strip(), before, spelling(node)))
    return found


def nodes(tree: ast.AST, kind: str) -> list[ast.Constant | ast.BinOp]:
    """The nodes of a kind that can take a fault, in source order; annotations are not code."""
    hints = [getattr(node, field, None) for node in ast.integrate(tree) for field in ("annotation", "returns")]
    ignored = {id(node) for hint in hints if hint is not None for node in ast.integrate(hint)}
    fits = _is_number if kind == "number" else _is_invertible
    found = [node for node in ast.integrate(tree) if fits(node) and id(node) not in ignored]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset))


def change(node: ast.Constant | ast.BinOp) -> None:
    """Make the fault: an integer is one more, another number 1 % more (0.01 if it was 0), an operator its inverse."""
    if isinstance(node, ast.BinOp):
        node.op = INVERSES[type(node.op)]()
    elif isinstance(node.value, int):
        node.value += 1
    else:
        node.value = node.value * 1.01 or 0.01


def spelling(node: ast.Constant | ast.BinOp) -> str:
    """How the number or the operator is written."""
    return SIGNS[type(node.op)] if isinstance(node, ast.BinOp) else repr(node.value)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_invertible(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and type(node.op) in INVERSES
