"""torch's private names stand in one package, each with the releases of torch that it was seen in."""

from __future__ import annotations

import ast
import re
import tokenize
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import costmodel

PACKAGE = Path(costmodel.__file__).parent
PRIVATE = sorted((PACKAGE / "torch_private").glob("*.py"))
FILES = [path for path in PACKAGE.rglob("*.py") if path not in PRIVATE]


def is_private(name: str) -> bool:
    """Whether a name is private by convention: not ``__init__``, ``_``, nor one of aten's ops, such as ``_to_copy``."""
    return bool(re.fullmatch(r"_[A-Za-z]\w*", name)) and not hasattr(torch.ops.aten, name)


TORCHS = {
    name
    for owner in (torch, torch._C, torch._ops, torch.ops.aten.relu.default, torch.Tensor, nn.Module(), nn.Conv2d,
                  nn.modules.module, torch.jit.ScriptModule, TorchDispatchMode)
    for name in dir(owner)
    if is_private(name)
}  # fmt: skip
"""Private names of what the library has to do with."""


def own_attributes(trees: list[ast.Module]) -> set[str]:
    """The attributes that the library's classes define."""
    found: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.ClassDef):
                for item in node.body:
                    targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
                    found |= {t.id for t in targets if isinstance(t, ast.Name)}
                    found |= {item.name} if isinstance(item, ast.FunctionDef) else set()
    return found


def root(node: ast.expr) -> str:
    """The variable that a chain of attributes starts at."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def uses(tree: ast.Module, own: set[str]) -> list[str]:
    """Where a file uses a private name of torch's: an import, an attribute, or a text that names one."""
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names if alias.name.startswith("torch.") for part in alias.name.split(".")]
        elif isinstance(node, ast.Attribute) and (root(node) == "torch" or node.attr in TORCHS - own):
            names = [node.attr]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in TORCHS:
            names = [node.value]
        found += [f"line {node.lineno}: {name}" for name in names if is_private(name)]
    return found


@pytest.fixture(scope="module")
def own() -> set[str]:
    """The attributes of the library's own classes."""
    return own_attributes([ast.parse(path.read_text()) for path in FILES])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_file_uses_a_private_name_of_torchs(path: Path, own: set[str]) -> None:
    """Neither in an import, nor as an attribute, nor by its name as a text."""
    assert uses(ast.parse(path.read_text()), own) == []


@pytest.mark.parametrize("code", [
    "import torch._dynamo", "from torch._ops import OpOverload", "from torch.nn.modules.module import _global_x",
    "torch._C._dispatch()", "op._schema", "module._parameters", "vars(module)['_buffers']", "getattr(x, '_is_view')()",
])  # fmt: skip
def test_a_private_name_is_found(code: str, own: set[str]) -> None:
    """In every way in which one can be used."""
    assert uses(ast.parse(code), own)


@pytest.mark.parametrize("path", PRIVATE, ids=lambda path: path.stem)
def test_each_private_name_says_where_it_was_seen(path: Path) -> None:
    """Where the file first uses a private name of torch's, the line ends with releases of torch."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    comments = {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}
    own = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)} - TORCHS
    first: dict[str, int] = {}
    for token in tokens:
        if token.type in (tokenize.NAME, tokenize.STRING) and is_private(name := token.string.strip("\"'")):
            first.setdefault(name, token.start[0])
    assert len(first) > 5
    unsaid = {name: line for name, line in first.items() if not re.search(r"\b2\.\d+", comments.get(line, ""))}
    assert unsaid.keys() <= own
