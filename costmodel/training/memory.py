"""Memory over a training step: what each storage is for, and what is live while each op runs.

Live is every storage from the op that allocates it to the op after which nothing refers to it, as the trace saw Python
and autograd release it; what an op allocates for itself lives as long as the op. Parameters, buffers, the model's
inputs and, in a step after the first, the optimizer's state are there throughout. Left out are what a kernel asks for
and frees itself, and the allocator's rounding and fragmentation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from costmodel.step_record import Phase, StepRecord

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES = ("parameters", "buffers", "gradients", "optimizer state", "saved activations", "inputs", "temporaries")
"""What a storage is for. Temporaries: activations that autograd does not keep, and gradients of activations."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One storage, and the ops between which it is live."""

    nbytes: int
    category: str
    """One of ``CATEGORIES``."""
    made_by: str
    """The op that allocated it; ``""`` for what is there before the step."""
    module: str
    """The qualified name of the module in which it was allocated; of a parameter or buffer its own name."""
    first: int
    """The first op at which it is live, as a row of ``TrainingStep.curve``."""
    last: int
    """The last one."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The op at which the most bytes are live."""

    nbytes: int
    index: int
    """Its row of ``TrainingStep.curve``; -1 where nothing ran."""
    op: str
    phase: str
    module: str
    """The qualified name of the module that it belongs to."""

    @classmethod
    def of(cls, curve: pd.DataFrame) -> Peak:
        """The greatest total of a curve, and its row."""
        if curve.empty:
            return cls(0, -1, "", "", "")
        at = int(curve["total"].argmax())
        row = curve.iloc[at]
        return cls(int(row["total"]), at, str(row["op"]), str(row["phase"]), str(row["module"]))


def lifetimes(record: StepRecord, *, first: bool = False) -> tuple[Lifetime, ...]:
    """Every storage of a step: of the very first one, or of one after it, in which the optimizer's state is there."""
    graph = record.graph
    indices = [i for phase, span in _spans(record, first) for i in span]
    names = {t.storage: t.name for t in (*graph.parameters().values(), *graph.buffers().values())}
    saved = {kept.storage for kept in record.saved}
    end = len(indices) - 1
    found = []
    for i, s in enumerate(graph.storages):
        made = s.allocated_at
        category = _category(record, i, s.role, saved)
        freed = s.freed_after
        is_kept = bool(indices) and made < indices[0] and (freed is None or freed >= indices[0])
        is_there = made < 0 or is_kept or (category == "optimizer state" and not first)
        begin = 0 if is_there else bisect_right(indices, made - 1)
        if begin > end or not (is_there or indices[begin] == made):  # of the update that is left out
            continue
        last = end if s.freed_after is None else min(bisect_right(indices, s.freed_after) - 1, end)
        op = graph.ops[made] if 0 <= made < len(graph.ops) else None
        module = graph.calls[op.module].name if op is not None and op.module >= 0 else names.get(i, "")
        made_by = op.op if op is not None and not is_there else ""
        found.append(Lifetime(s.nbytes, category, made_by, module, begin, max(last, begin)))
    return tuple(found)


def _spans(record: StepRecord, first: bool) -> Sequence[tuple[Phase, range]]:
    """The ops of each phase of the very first step, or of one after it."""
    if not first:
        return [(phase, span) for phase, span in record.spans() if phase not in ("first pass", "first update")]
    spans = [(phase, span) for phase, span in record.spans() if phase != "update"]
    if not record.set_to_none:  # the first pass makes the gradients, in the place of the first forward and backward
        for replaced in ("forward", "loss", "backward"):
            spans.pop(next(i for i, (phase, _) in enumerate(spans) if phase == replaced))
    return spans


def _category(record: StepRecord, storage: int, role: str, saved: set[int]) -> str:
    if role in ("parameter", "buffer"):
        return f"{role}s"
    if storage in record.gradients:
        return "gradients"
    if storage in record.state:
        return "optimizer state"
    if role == "input":
        return "inputs"
    return "saved activations" if storage in saved else "temporaries"


def curve(record: StepRecord, lives: Sequence[Lifetime], *, first: bool = False) -> pd.DataFrame:
    """A row per op: ``index, phase, op, module``, the bytes of each category, and their ``total``."""
    import pandas as pd

    calls = record.graph.calls
    rows = [(phase, record.graph.ops[i]) for phase, span in _spans(record, first) for i in span]
    changes = {category: [0] * (len(rows) + 1) for category in CATEGORIES}
    for x in lives:
        changes[x.category][x.first] += x.nbytes
        changes[x.category][x.last + 1] -= x.nbytes
    sums = {category: list(accumulate(change))[: len(rows)] for category, change in changes.items()}
    return pd.DataFrame({
        "index": range(len(rows)),
        "phase": ["update" if phase == "first update" else phase for phase, _ in rows],
        "op": [op.op for _, op in rows],
        "module": [calls[op.module].name if op.module >= 0 else "" for _, op in rows],
        **sums,
        "total": [sum(column) for column in zip(*sums.values(), strict=True)],
    })  # fmt: skip
