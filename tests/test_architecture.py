"""No file of the library imports itself, on whatever detour; and most are imported without torch.

The graph is read from the sources. An import inside a function counts as one at the top does; one for annotations alone
(under ``if TYPE_CHECKING``) does not. ``from package import name`` is an import of the file ``package/name.py`` where
there is one, and of ``package/__init__.py`` where not. That Python runs the ``__init__.py`` of each enclosing package
first is left out: an ``__init__`` that imports its own files would be a circle by construction.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent
FOLDERS = {"costmodel": ROOT / "costmodel", "costmodel.models": ROOT / "models"}
"""Packages, by the names that they are imported by."""


def sources() -> dict[str, str]:
    """The text of every file of the library, by its module's name."""
    found = {}
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = file.read_text("utf-8")
    return found


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from at_run_time(other)
        else:
            yield child
            yield from at_run_time(child)


Walk = Callable[[ast.AST], Iterator[ast.AST]]


def imports(
    name: str, source: str, modules: Iterable[str], *, is_package: bool, walk: Walk = at_run_time
) -> Iterator[str]:
    """The modules, of those given, that a file imports, by whatever statement."""
    modules = set(modules)
    package = name if is_package else name.rpartition(".")[0]
    for node in walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            stem = node.module or ""
            if node.level:
                parts = package.split(".")
                stem = ".".join(part for part in (*parts[: len(parts) - node.level + 1], stem) if part)
            for alias in node.names:
                loaded = f"{stem}.{alias.name}" if f"{stem}.{alias.name}" in modules else stem
                yield from {loaded} & modules
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from _by_call(node, package, modules)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs when a file is imported: not what lies in a function, nor what only type checkers read."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from at_import(child)


def imports_torch(source: str) -> bool:
    """Whether a file imports torch, or a part of it, when it is imported itself."""
    names = [
        name
        for node in at_import(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    ]
    return any(name.partition(".")[0] == "torch" for name in names)


def _by_call(call: ast.Call, package: str, modules: set[str]) -> Iterator[str]:
    """What ``import_module`` may import: of a computed name, whatever begins with the part that is written out."""
    written = call.args[0]
    if isinstance(written, ast.JoinedStr):
        first = written.values[0]
        begin, complete = first.value if isinstance(first, ast.Constant) else "", False
    else:
        begin, complete = getattr(written, "value", ""), True
    if not begin or not isinstance(begin, str):
        return  # a module of the user's, named by the user
    begin = package + begin if begin.startswith(".") else begin
    for module in modules:
        tail = module.removeprefix(begin)
        if module == begin if complete else module.startswith(begin) and "." not in tail:
            yield module


def graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """The modules that each module imports."""
    packages = {name for name in files for other in files if other.startswith(f"{name}.")}
    return {name: set(imports(name, source, files, is_package=name in packages)) for name, source in files.items()}


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """A shortest circle through each module that lies on one, each circle once."""
    found: dict[frozenset[str], list[str]] = {}
    for start in edges:
        paths, seen = [[start]], set[str]()
        while paths:
            path = paths.pop(0)
            if start in edges[path[-1]]:
                found.setdefault(frozenset(path), [*path, start])
                break
            further = edges[path[-1]] - seen
            seen |= further
            paths += [[*path, module] for module in sorted(further)]
    return list(found.values())


OF_TORCH = re.compile(
    r"costmodel\.(trace|torch_private|third_opinion|layers\.capture|default_inputs|training\.optimizers"
    r"|timing\.(runs|copied|hooks|stopwatch)"
    r"|notes\.\w+|models\.(?!closed)\w+)(\.\w+)*"
)
"""The files that read, make or run modules: all others are imported without torch."""


def needing_torch(files: Mapping[str, str]) -> set[str]:
    """The files that load torch when they are imported, by themselves or by what they import."""
    packages = {name for name in files for other in files if other.startswith(f"{name}.")}
    needing = {name for name, source in files.items() if imports_torch(source)}
    edges = {
        name: set(imports(name, source, files, is_package=name in packages, walk=at_import))
        for name, source in files.items()
    }
    for imported in edges.values():  # Python runs the packages around a module first
        imported |= {package for package in packages for name in imported if name.startswith(f"{package}.")}
    while more := {name for name, imported in edges.items() if imported & needing} - needing:
        needing |= more
    return needing


def test_only_what_handles_modules_imports_torch() -> None:
    """A file outside of the trace and the like loads torch in functions alone, if ever, and so does what it imports."""
    found = needing_torch(sources())
    assert {name for name in found if not OF_TORCH.fullmatch(name)} == set()
    assert {"costmodel.trace.recorder", "costmodel.models.vgg", "costmodel.layers.capture"} <= found


def test_an_import_of_torch_is_found() -> None:
    """At the top, in a class or a branch, and on a detour; not in a function, nor for annotations."""
    plain = {"p": "", "p.a": "class A:\n    from torch import nn", "p.b": "import p.a", "p.c": "import torchvision"}
    late = {"p.d": "def f():\n    import torch", "p.e": "if TYPE_CHECKING:\n    import torch", "p.f": "import p.d, p.e"}
    assert needing_torch({**plain, **late}) == {"p.a", "p.b"}
    assert needing_torch({"p": "if 1 < 2:\n    import torch.nn as nn"}) == {"p"}
    assert needing_torch({"p": "import q.b", "q": "import torch", "q.b": ""}) == {"p", "q"}


def test_no_file_imports_itself_on_a_detour() -> None:
    """The library's graph of imports has no circle."""
    found = circles(graph(sources()))
    assert not found, "\n".join(" -> ".join(circle) for circle in found)


def test_every_file_is_in_the_graph() -> None:
    """The graph has files of all packages, and edges of each kind that the library uses."""
    edges = graph(sources())
    assert {"costmodel", "costmodel.profiling", "costmodel.models", "costmodel.models.closed"} <= edges.keys()
    assert "costmodel.views" in edges["costmodel.rendering"]  # inside a function
    assert "costmodel.views.grid" in edges["costmodel.views.text"]  # a file, and not its package
    assert "costmodel.models" in edges["costmodel"]  # by a computed name
    assert "costmodel.profiling" not in edges["costmodel.views.text"]  # for annotations alone


def test_a_circle_is_found_and_named() -> None:
    """Late, relative, computed and plain imports close a circle; an annotation does not."""
    plain = {"p": "", "p.a": "import p.b", "p.b": "from p import c", "p.c": "def f():\n    from p.a import x"}
    assert circles(graph(plain)) == [["p.a", "p.b", "p.c", "p.a"]]
    typed = {**plain, "p.c": "if TYPE_CHECKING:\n    from p.a import x\nelse:\n    x = 1"}
    assert circles(graph(typed)) == []
    relative = {"p": "", "p.q": "from .a import x", "p.q.a": "from . import x", "p.b": ""}
    assert circles(graph(relative)) == [["p.q", "p.q.a", "p.q"]]
    computed = {"p": "import_module(f'p.{name}')", "p.a": "import p", "p.b": "", "p.b.c": "import p"}
    assert circles(graph(computed)) == [["p", "p.a", "p"]]
    itself = {"p": "", "p.a": "from p.a import x"}
    assert circles(graph(itself)) == [["p.a", "p.a"]]


def test_no_module_has_the_name_of_a_public_function() -> None:
    """``import costmodel.x`` binds the module ``x`` in the package, and would hide a function of that name."""
    import costmodel

    functions = {name for name in costmodel.__all__ if not isinstance(getattr(costmodel, name), ModuleType)}
    assert {"profile", "compare"} <= functions
    assert {f"costmodel.{name}" for name in functions} & sources().keys() == set()
