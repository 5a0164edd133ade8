"""Mutants of the counting code, drawn with a seed: one operator, comparison, small constant or default is changed."""

from __future__ import annotations

import ast
import difflib
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Name, Newline, String
from parso.tree import NodeOrLeaf

ROOT = Path(__file__).parent.parent.parent

COUNTING = (
    "costmodel/formulas", "costmodel/ops", "costmodel/receptive_field", "costmodel/access.py", "costmodel/fusion.py",
    "costmodel/guidelines.py", "costmodel/memory.py", "costmodel/pricing.py", "costmodel/quantities.py",
    "costmodel/roofline.py",
)  # fmt: skip
"""The files and folders whose code counts."""

_ARITHMETIC = {"Add", "Sub", "Mul", "FloorDiv"}
_ORDER = {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"}
_OTHERS = {
    "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue",
    "NumberReplacer", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub", "ZeroIterationForLoop",
}  # fmt: skip


def _operators() -> Mapping[str, Operator]:
    """Cosmic Ray's operators, but for those that only crash: bitwise arithmetic, removed decorators and the like."""
    provider = OperatorProvider()
    chosen = {}
    for name in provider:
        family, _, change = name.partition("_")
        between = set(change.split("_"))
        if (
            name in _OTHERS
            or (family == "ReplaceBinaryOperator" and between <= _ARITHMETIC)
            or (family == "ReplaceComparisonOperator" and (between <= _ORDER or between <= {"Is", "IsNot"}))
        ):
            chosen[name] = provider[name]()
    return chosen


OPERATORS = _operators()


@dataclass(frozen=True)
class Mutant:
    """A file with one place changed."""

    file: str
    """From the repository's root."""
    line: int
    operator: str
    original: str
    mutated: str

    @property
    def module(self) -> str:
        """The name by which the file is imported."""
        return self.file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")

    @property
    def changed(self) -> tuple[str, str]:
        """The lines that differ, before and after, each without its indentation."""
        before, after = self.original.splitlines(), self.mutated.splitlines()
        for old, new in zip(before, after, strict=True):
            if old != new:
                return old.strip(), new.strip()
        raise AssertionError("a mutant that changes nothing")

    @property
    def function(self) -> str:
        """The innermost function or class that the place is in; empty for a module's own code."""
        around = [
            node for node in ast.walk(ast.parse(self.original))
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.lineno <= self.line <= (node.end_lineno or 0)
        ]  # fmt: skip
        return max(around, key=lambda node: node.lineno).name if around else ""

    @property
    def diff(self) -> str:
        """The change with the lines around it."""
        lines = difflib.unified_diff(self.original.splitlines(), self.mutated.splitlines(), lineterm="", n=2)
        return "\n".join(list(lines)[3:])


def files(where: Sequence[str] = COUNTING) -> list[str]:
    """The Python files of files and folders, from the repository's root."""
    found = []
    for place in where:
        path = ROOT / place
        inside = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [str(file.relative_to(ROOT)) for file in inside]
    return found


def _executed(source: str) -> str:
    """What a file computes: annotations are not evaluated, and whether lengths are checked changes no count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            node.value = ast.Constant(None)
    return ast.dump(tree)


def _beside(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """What counts nothing, from where to where: the rules' examples, and the flags of dataclasses."""
    tree = ast.parse(source)
    found: list[ast.AST] = [
        node for node in tree.body if isinstance(node, ast.Assign) and "TensorSpec(" in ast.unparse(node)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found += node.decorator_list
        elif isinstance(node, ast.FunctionDef) and node.returns:
            found += [node] if "Example" in ast.unparse(node.returns) else []
        elif (isinstance(node, ast.keyword) and node.arg == "examples") or (
            isinstance(node, ast.Call) and ast.unparse(node.func) == "example"
        ):
            found.append(node)
    return [((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)) for node in found]


def _places(source: str) -> Iterator[tuple[tuple[int, int], list[tuple[str, int]]]]:
    """Each place (line, column) that can change, with its operators and which of their occurrences it is."""
    changes: dict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    beside = _beside(source)
    nodes: list[NodeOrLeaf] = [
        node for node in ast_nodes(get_ast(source)) if not isinstance(node, Name | Newline | String)
    ]
    for name, operator in OPERATORS.items():
        positions = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(positions):
            if not any(first <= start < last for first, last in beside):
                changes[start].append((name, occurrence))
    return iter(sorted(changes.items()))


def draw(seed: int, count: int, where: Sequence[str] = COUNTING) -> list[Mutant]:
    """As many mutants as asked for, each of another place; every place is as likely as every other."""
    rng = random.Random(seed)
    sources = {file: (ROOT / file).read_text() for file in files(where)}
    places = [(file, at, changes) for file, source in sources.items() for at, changes in _places(source)]
    rng.shuffle(places)
    mutants: list[Mutant] = []
    for file, (line, _), changes in places:
        if len(mutants) == count:
            break
        name, occurrence = rng.choice(changes)
        source = sources[file]
        mutated = mutate_code(source, OPERATORS[name], occurrence)
        if "TYPE_CHECKING" in source.splitlines()[line - 1]:
            continue
        try:
            if mutated is None or _executed(mutated) == _executed(source):
                continue
        except SyntaxError:  # the star of keyword-only arguments is no multiplication
            continue
        mutants.append(Mutant(file=file, line=line, operator=name, original=source, mutated=mutated))
    return mutants
