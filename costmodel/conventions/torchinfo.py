"""torchinfo: each layer's parameters, multiplied by some sizes of its output.

Source: torchinfo/torchinfo.py, torchinfo/layer_info.py and torchinfo/model_statistics.py of torchinfo 1.8.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from costmodel.conventions.tool import Called, Count, Counted, ModuleEntry, Tool, ToolFailsError, calls, module_count
from costmodel.graph import TensorSpec
from costmodel.reading import Reading, ReadModule


def _size(value: Any) -> tuple[int, ...]:
    """The shape of the first tensor of what a module returned, the last entry's of a dict."""
    if isinstance(value, Mapping):
        return _first(list(value.values())[-1]) if value else ()
    if isinstance(value, (tuple, list, TensorSpec)) or value is None:
        return _first(value)
    raise ToolFailsError(f"it knows no output of the type {type(value).__name__}")


def _first(value: Any) -> tuple[int, ...]:
    while isinstance(value, (tuple, list, Mapping)) and value:
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    return value.shape if isinstance(value, TensorSpec) else ()


def _elements(module: ReadModule) -> list[tuple[str, int]]:
    """Each parameter by name with its elements, of pruned ones those that are not masked, under the weight's name."""
    return [
        (name.removesuffix("_orig") if name in module.masked else name, p.size - p.zeros)
        for name, p in module.parameters.items()
    ]


def _is_conv(called: Called) -> bool:
    return "Conv" in called.module.type


_CONV = "weights and biases, once for each output position"
_ROWS = "weights and biases, once for each sample of the batch"
_STEPS = "weights and biases, once for each step of each sequence"


def _layer(called: Called) -> Counted:
    size, total, why = _size(called.call.outputs), 0, _ROWS
    for name, elements in _elements(called.module):
        if name in ("weight", "bias"):
            if _is_conv(called):
                total, why = total + elements * prod(size[:1] + size[2:]), _conv_why(called)
            elif not size:
                raise ToolFailsError(f"{called.module.name}: it reads the first size of an output that has none")
            else:
                total, why = total + size[0] * elements, _rows_why(called, size)
        elif "weight" in name or "bias" in name:
            total, why = total + elements * prod(size[:2]), _STEPS
    return total, why


def _conv_why(called: Called) -> str:
    if "Transpose" in called.module.type:
        return f"fault: {_CONV}, where a transposed convolution multiplies its weights once for each input position"
    return _CONV


def _rows_why(called: Called, size: tuple[int, ...]) -> str:
    if "Embedding" in called.module.type:
        return f"fault: {_ROWS}, though an embedding multiplies nothing"
    if called.module.type.endswith("Linear") and len(size) > 2:
        return f"fault: {_ROWS}, where each of {prod(size[:-1]) // size[0]} positions of a sample multiplies them"
    return _ROWS


_LEAF = ModuleEntry(_layer, "parameters whose names have weight or bias in them, by sizes of the output")


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    for called in calls(reading):
        _size(called.call.outputs)
        if not called.module.children and called.module.parameters:
            yield module_count(called, tool.modules["any without children"])


@dataclass(eq=False)
class _Row:
    """One line of the summary."""

    module: ReadModule
    depth: int
    parent: _Row | None
    is_recursive: bool = False

    @property
    def is_leaf(self) -> bool:
        return not self.module.children

    @property
    def params(self) -> int:
        return sum(elements for _, elements in _elements(self.module))


def _params(reading: Reading) -> int:
    """Parameters of each line of the summary that no line below it has, where that is not less than none."""
    rows = _summary(reading)
    own = [0] * len(rows)
    for i in range(len(rows) - 1, -1, -1):  # the lines below a line come after it
        row, below = rows[i], 0
        for j in range(i + 1, len(rows)):
            if rows[j].depth <= row.depth:
                break
            below += 0 if rows[j].is_recursive else own[j]
        own[i] = row.params if row.is_leaf else row.params - below
    return sum(max(n, 0) for row, n in zip(rows, own, strict=True) if not row.is_recursive)


def _summary(reading: Reading) -> list[_Row]:
    """A line for each call of a module, and for each module around one that is not called itself."""
    registered: dict[str, _Row] = {}
    waiting: list[tuple[str, int, _Row | None]] = [("", 0, None)]
    while waiting:
        key, depth, parent = waiting.pop()
        row = registered[key] = _Row(reading.modules[key], depth, parent)  # the last place of a module is its place
        waiting += [(child, depth + 1, row) for _, child in reversed(reading.modules[key].children)]
    rows, seen = [], set[str]()
    for call in reading.graph.calls:
        if call.owner is not None:
            place = registered[call.owner]
            rows.append(_Row(place.module, place.depth, place.parent, call.owner in seen))
            seen.add(call.owner)
    return _with_containers(rows, seen)


def _with_containers(rows: list[_Row], seen: set[str]) -> list[_Row]:
    made: list[_Row] = []
    around: dict[int, _Row] = {}
    for row in rows:
        above: dict[int, _Row] = {}
        parent = row.parent
        while parent is not None and parent.depth > 0:
            above[parent.depth] = parent
            parent = parent.parent
        for depth in range(1, row.depth):
            if depth not in around or around[depth].module is not above[depth].module:
                container = above[depth]  # one line, also where it is shown again: both are recursive then
                container.is_recursive = container.module.name in seen
                seen.add(container.module.name)
                made.append(container)
                around[depth] = container
        made.append(row)
        around = {depth: other for depth, other in around.items() if depth < row.depth} | {row.depth: row}
    return made


TORCHINFO = Tool(
    name="torchinfo",
    package="torchinfo",
    version="1.8.0",
    unit="MACs",
    calls_it="total mult-adds",
    counts=_counts,
    params=_params,
    not_counted=lambda op: f"{op} runs in no module without children that has parameters, and counts 0",
    modules={"any without children": _LEAF},
    mode="eval",
    around="torch.no_grad",
    remarks=(
        "Of nn.MultiheadAttention nothing is counted: it has a child, which is never called.",
        "Parameters that two modules share are counted for each.",
    ),
)
