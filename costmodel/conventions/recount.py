"""``Recount``: what another tool prints for a model, and how it comes from this library's MACs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from costmodel.conventions.tool import PER_MAC, Count, Tool, place
from costmodel.graph import TensorSpec, tensors_in
from costmodel.pricing import Pricing
from costmodel.reading import Reading
from costmodel.records import dataclass
from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_SHOWN = 3
"""Differences that a summary names."""


@dataclass(frozen=True, slots=True)
class Step:
    """One named difference between this library's MACs and the tool's number."""

    name: str
    """The module in which it is; ``""`` for the model itself."""
    op: str
    why: str
    amount: int
    """In the tool's unit."""


@dataclass(frozen=True, slots=True)
class CountedLayer:
    """What the tool counts for one op or module, beside its multiply-accumulates."""

    name: str
    type: str
    op: str
    count: int
    macs: int
    why: str


@dataclass(frozen=True, eq=False, repr=False)
class Recount(Report):
    """What a tool prints for a model and its inputs."""

    view: ClassVar[str] = "recount"
    unit_reason: ClassVar[str] = "2 FLOPs a multiply-accumulate"
    """The reason of the difference that is the unit's, in a tool that counts FLOPs."""

    model: str
    inputs: tuple[TensorSpec, ...]
    """What the model was given."""
    mode: str
    """That of the profile."""
    tool: Tool
    macs: int
    """This library's MACs, from which the differences lead to ``total``."""
    total: int
    """In ``unit``."""
    params: int | None
    """The tool's number of parameters; ``None`` where it gives none."""
    counted: tuple[CountedLayer, ...]
    """What the tool counts, in order of execution."""
    steps: tuple[Step, ...]
    """``macs`` and their amounts add up to ``total``."""

    @property
    def unit(self) -> str:
        """``MACs`` or ``FLOPs``, of two a multiply-accumulate."""
        return self.tool.unit

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row per op or module that the tool counts: ``name, type, op, count, macs, why``."""
        import pandas as pd

        columns = ["name", "type", "op", "count", "macs", "why"]
        return pd.DataFrame([[getattr(layer, c) for c in columns] for layer in self.counted], columns=columns)

    @cached_property
    def difference(self) -> pd.DataFrame:
        """What leads from ``macs`` to ``total`` without a remainder: ``name, op, why, amount``."""
        import pandas as pd

        columns = ["name", "op", "why", "amount"]
        return pd.DataFrame([[getattr(step, c) for c in columns] for step in self.steps], columns=columns)

    @property
    def reasons(self) -> dict[tuple[str, str], int]:
        """The amounts by op and reason, over all layers, the largest first."""
        found: dict[tuple[str, str], int] = {}
        for step in self.steps:
            found[step.op, step.why] = found.get((step.op, step.why), 0) + step.amount
        return dict(sorted(found.items(), key=lambda item: -abs(item[1])))

    @property
    def summary(self) -> str:
        """The largest differences by op, without their reasons, and but for the unit."""
        by_op: dict[str, int] = {}
        for step in self.steps:
            if step.why == self.unit_reason:
                continue
            by_op[step.op or step.why] = by_op.get(step.op or step.why, 0) + step.amount
        largest = sorted(by_op.items(), key=lambda item: -abs(item[1]))
        parts = [f"{op} {amount:+,}" for op, amount in largest[:_SHOWN]]
        if len(largest) > _SHOWN:
            parts.append(f"{len(largest) - _SHOWN} more {sum(amount for _, amount in largest[_SHOWN:]):+,}")
        return "; ".join(parts) or ("the unit alone" if self.steps else "none")

    def plot_waterfall(self, most: int = 5, ax: Axes | None = None) -> Figure:
        """What leads from ``macs`` to ``total``, a bar for each reason, drawn into ``ax`` if given.

        Beyond the ``most`` largest amounts, several reasons are one bar together.
        """
        from costmodel.views import waterfall

        return waterfall.figure(self, most, ax)


def recount(tool: Tool, reading: Reading, model: str, mode: str, macs: int) -> Recount:
    """What a tool prints for the execution that was read, of a model whose profile has ``macs``.

    Raises ``ToolFailsError`` where the tool does.
    """
    pricing = Pricing(reading.graph)
    by_op = [op.work.macs for op in pricing.ops]
    counts = list(tool.counts(tool, reading))
    claimed = _claims(counts, by_op)
    per_mac = PER_MAC[tool.unit]
    elsewhere = "while torch's tracer records it" if tool.reads_graph else f"in {tool.mode} mode"
    steps = [Step("", "", f"{tool.name} runs every model {elsewhere}", sum(by_op) - macs)]
    if per_mac != 1:
        steps.append(Step("", "", Recount.unit_reason, (per_mac - 1) * sum(by_op)))
    steps += [
        Step(count.name, count.op, count.why, count.amount - per_mac * own)
        for count, own in zip(counts, claimed, strict=True)
    ]
    steps += _missing(tool, reading, counts, by_op)
    total = sum(count.amount for count in counts)
    merged = tuple(_merged(steps))
    if macs + sum(step.amount for step in merged) != total:
        raise AssertionError(f"{tool.name}: the differences leave a remainder")
    layers = tuple(
        CountedLayer(count.name, count.type, count.op, count.amount, own, count.why)
        for count, own in zip(counts, claimed, strict=True)
    )
    params = None if tool.params is None else tool.params(reading)
    given = tuple(tensors_in((reading.graph.inputs, reading.graph.kwargs)))
    return Recount(model, given, mode, tool, macs, total, params, layers, merged)


def _claims(counts: list[Count], by_op: list[int]) -> list[int]:
    """The MACs that each count stands for. What lies in several is the shortest's, the first of those."""
    owner: dict[int, int] = {}
    for index, count in sorted(enumerate(counts), key=lambda item: (item[1].end - item[1].first, item[0])):
        for op in range(count.first, 0 if count.is_twice else count.end):
            if by_op[op]:
                owner.setdefault(op, index)
    claimed = [0] * len(counts)
    for op, index in owner.items():
        claimed[index] += by_op[op]
    return claimed


def _missing(tool: Tool, reading: Reading, counts: list[Count], by_op: list[int]) -> Iterator[Step]:
    """The ops with multiply-accumulates that the tool does not count."""
    covered: set[int] = set()
    for count in counts:
        covered.update(range(count.first, count.end))
    above = {index: op.base for op in reading.ops for index in range(op.first, op.end)}
    for index, macs in enumerate(by_op):
        if macs and index not in covered:
            op = above.get(index, reading.graph.ops[index].op.split(".")[1])
            name, _ = place(reading, reading.graph.ops[index].module)
            yield Step(name, op, tool.not_counted(op), -PER_MAC[tool.unit] * macs)


def _merged(steps: list[Step]) -> Iterator[Step]:
    """Steps of one module, op and reason as one; none that is 0."""
    found: dict[tuple[str, str, str], int] = {}
    for step in steps:
        key = step.name, step.op, step.why
        found[key] = found.get(key, 0) + step.amount
    return (Step(*key, amount) for key, amount in found.items() if amount)
