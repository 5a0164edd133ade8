"""A profile as JSON. Beside its figures the file carries what ran, from which ``costmodel.saved`` makes it again.

``profile.schema.json``, beside this file, describes the format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from fractions import Fraction
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from costmodel.formulas import LayerCost
from costmodel.graph import Graph, ModuleCall, TensorSpec
from costmodel.measures import MEASURES, Measure, Number

if TYPE_CHECKING:
    import pandas as pd

    from costmodel.comparison import Comparison
    from costmodel.cross_check import CrossCheck
    from costmodel.metrics import Metric
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep

VERSION = 1
"""The version of the format; raised for any change that a reader of this version would misread."""


def schema(of: str = "profile") -> dict[str, Any]:
    """The JSON Schema of a ``"profile"``, or of a ``"training"`` step or ``"measurement"``, which share definitions."""
    text = files("costmodel.views").joinpath(f"{of}.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    if of != "profile":
        loaded["$defs"] = schema()["$defs"] | loaded["$defs"]
    return loaded


def profile(p: Profile) -> str:
    """The profile, one line per part."""
    return by_lines(document(p))


def by_lines(document: dict[str, Any]) -> str:
    """A document with one line per part, so that a line diff shows which part changed."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {compact(v)}" for k, v in document.items()) + "\n}\n"


def comparison(c: Comparison) -> str:
    """The totals of several models, one line per model."""
    models = [
        {
            "name": name, "inputs": inputs(p), "mode": p.mode, "totals": _totals(p), "is_exact": p.is_exact,
            "crosscheck": p.crosscheck().ok,
        }
        for name, p in c.profiles.items()
    ]  # fmt: skip
    lines = ",\n".join(map(compact, models))
    head = (
        f'"format":"costmodel-comparison","version":{VERSION},"baseline":{compact(c.baseline)},'
        f'"warnings":{compact(c.warnings)},'
        f'"measures":{compact(explained(MEASURES.values()))}'
    )
    if c.metrics:
        head += f',"metrics":{compact({name: _metric(metric) for name, metric in c.metrics.items()})}'
    return f'{{{head},"models":[\n{lines}\n]}}\n'


def _metric(metric: Metric) -> dict[str, Any]:
    """A metric, as ``compare(metrics=)`` takes it."""
    told = {
        "unit": metric.unit, "means": metric.means, "sources": dict(metric.sources), "head": metric.head
    }  # fmt: skip
    return {"figures": dict(metric.figures), "better": metric.better, **{k: v for k, v in told.items() if v}}


def compact(value: Any) -> str:
    """Any part of a document, in one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def document(p: Profile) -> dict[str, Any]:
    """The profile as plain lists and dicts."""
    return {
        "format": "costmodel-profile",
        "version": VERSION,
        "name": p.name,
        "model": p.graph.model,
        "mode": p.mode,
        "execution": p.execution,
        "is_exact": p.is_exact,
        "inputs": inputs(p),
        "measures": explained(MEASURES.values()),
        "totals": _totals(p),
        "layers": records(p.layers),
        "coverage": coverage(p),
        "crosscheck": verdict(p.crosscheck()),
        "graph": GraphWriter().graph(p.graph),
    }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table."""
    return [{str(k): shown(v) for k, v in row.items()} for row in table.to_dict("records")]


def verdict(check: CrossCheck) -> dict[str, Any]:
    """A cross-check: what was compared, and what differs."""
    return {
        "ok": check.ok,
        "checked": check.checked,
        "traced_only": list(check.traced_only),
        **({"unreached": list(check.unreached)} if check.unreached else {}),
        "mismatches": [
            {"name": c.name, "type": c.type, "quantity": c.quantity,
             "closed_form": shown(c.closed_form), "traced": shown(c.traced)}
            for c in check.mismatches
        ],
    }  # fmt: skip


def coverage(p: Profile | TrainingStep) -> dict[str, Any]:
    """Which operations were counted, free and without a rule."""
    found = asdict(p.coverage)
    if not found["bounds"]:
        del found["bounds"]
    return found


def inputs(p: Profile) -> list[dict[str, Any]]:
    """Shape and dtype of each input."""
    return [{"shape": list(t.shape), "dtype": t.dtype} for t in p.inputs]


def explained(measures: Iterable[Measure]) -> dict[str, dict[str, Any]]:
    """What figures are: the names of totals and of the columns of layers."""
    return {m.name: {"title": m.title, "unit": m.unit, "means": m.means, "additive": m.additive} for m in measures}


def _totals(p: Profile) -> dict[str, Number]:
    totals = {name: p.total(name) for name in MEASURES}
    return {name: total for name, total in totals.items() if total is not None}


def shown(value: Any) -> Any:
    """Tuples are lists, and a fraction, which is the stride of what was upsampled, stays exact: "1/2"."""
    if isinstance(value, tuple):
        return [shown(v) for v in value]
    return str(value) if isinstance(value, Fraction) else value


class GraphWriter:
    """Writes a graph. Tensors go into one table: two uses of one tensor stay two uses of one."""

    def __init__(self) -> None:
        self.tensors: list[list[Any]] = []
        self.indices: dict[int, int] = {}
        self.specs: list[TensorSpec] = []

    def graph(self, g: Graph) -> dict[str, Any]:
        """A graph as plain lists and dicts."""
        body = {
            "reason": g.reason,
            "modules": [
                {"name": m.name, "type": m.type, "parameters": [self._tensor(t) for t in m.parameters],
                 "buffers": [self._tensor(t) for t in m.buffers], "aliases": list(m.aliases)}
                for m in g.modules.values()
            ],
            "calls": [self._call(c) for c in g.calls],
            "ops": [
                {"op": o.op, "args": {k: self._value(v) for k, v in o.args.items()},
                 "outputs": [self._tensor(t) for t in o.outputs], "module": o.module, "inplace": o.inplace}
                for o in g.ops
            ],
            "storages": [[s.nbytes, s.role, s.allocated_at, s.freed_after] for s in g.storages],
            "inputs": self._value(g.inputs),
            "kwargs": self._value(g.kwargs),
            "outputs": self._value(g.outputs),
        }  # fmt: skip
        frozen = [i for i, t in enumerate(self.specs) if t.role == "parameter" and not t.trainable]
        notes = [[note.where, note.why] for note in g.notes]
        sparse = [{"tensor": i, **asdict(t.sparse)} for i, t in enumerate(self.specs) if t.sparse is not None]
        pruned = [{"tensor": i, "zeros": t.zeros} for i, t in enumerate(self.specs) if t.zeros]
        quantised = [{"tensor": i, "scale_bytes": t.scale_bytes} for i, t in enumerate(self.specs) if t.scale_bytes]
        stored = [
            {"tensor": i, "bytes": t.stored_bytes} for i, t in enumerate(self.specs) if t.stored_bytes is not None
        ]
        optional = {
            "frozen": frozen, "sparse": sparse, "pruned": pruned, "quantised": quantised, "stored": stored,
            "notes": notes,
        }  # fmt: skip
        return {"tensors": self.tensors, **{key: value for key, value in optional.items() if value}, **body}

    def _call(self, c: ModuleCall) -> dict[str, Any]:
        layer: dict[str, Any] | None = None
        if c.layer is not None:
            hyper = {k: self._value(v) for k, v in c.layer.hyper.items()}
            layer = {"key": c.layer.key, "hyper": hyper, "kind": c.layer.kind}
            if c.layer.is_composite:
                layer["is_composite"] = True
            if c.layer.gradients is not None:
                of_inputs, weights, biases, arriving = c.layer.gradients
                layer["gradients"] = [list(of_inputs), weights, biases, list(arriving)]
        plain = {f.name: getattr(c, f.name) for f in fields(c) if f.name not in NESTED}
        return {
            **plain, "args": self._value(c.args), "kwargs": self._value(c.kwargs), "outputs": self._value(c.outputs),
            "layer": layer,
        }  # fmt: skip

    def _tensor(self, t: TensorSpec) -> int:
        if id(t) not in self.indices:
            self.indices[id(t)] = len(self.tensors)
            self.specs.append(t)
            strides = None if t.strides is None else list(t.strides)
            self.tensors.append([list(t.shape), t.dtype, strides, t.storage, t.role, t.name])
        return self.indices[id(t)]

    def _value(self, value: Any) -> Any:
        """Scalars and lists as they are; all else as an object with one key that says what it is."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, TensorSpec):
            return {"tensor": self._tensor(value)}
        if isinstance(value, tuple):
            return {"tuple": [self._value(v) for v in value]}
        if isinstance(value, list):
            return [self._value(v) for v in value]
        if isinstance(value, Mapping):
            return {"dict": [[self._value(k), self._value(v)] for k, v in value.items()]}
        if isinstance(value, complex):
            return {"complex": [repr(value.real), repr(value.imag)]}
        if isinstance(value, LayerCost):
            # A gradient is a function, which no file holds: read back, its layer's backward pass is traced only.
            names = [f.name for f in fields(value) if f.name not in ("work", "gradient", "when_trained")]
            parts = {name: self._value(getattr(value, name)) for name in names}
            return {"cost": {**parts, "work": asdict(value.work)}}
        return {"other": f"<{type(value).__name__}>"}


NESTED = ("args", "kwargs", "outputs", "layer")
"""The fields of a module call that hold tensors or records; all others are written as they are."""
