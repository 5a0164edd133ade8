"""Profiles, training steps and measurements read back from the JSON that ``costmodel.views`` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeAlias

from costmodel.consistency import compute_every_part, compute_everything, require_consistent, require_consistent_step
from costmodel.errors import ConvertError, InputError
from costmodel.files import as_path
from costmodel.formulas import LayerCost
from costmodel.graph import (
    Graph,
    LayerSpec,
    ModuleCall,
    ModuleInfo,
    Note,
    OpCall,
    Records,
    Sparse,
    Storage,
    TensorSpec,
    WantedGradients,
)
from costmodel.profiling import Profile
from costmodel.quantities import Work
from costmodel.schema import validator
from costmodel.step_record import SavedTensor, StepRecord
from costmodel.timing.result import Measurement, Peaks, Setting, TimedLayer, Times
from costmodel.training import TrainingStep
from costmodel.views.json import NESTED, VERSION, schema
from costmodel.views.training.json import INDICES, SETTINGS

Saved: TypeAlias = Profile | TrainingStep | Measurement
"""What is read back."""


def read_json(path: str | Path) -> Saved:
    """The profile, the training step or the measurement that ``save("x.json")`` or ``to_json`` wrote.

    Figures are computed anew from what ran. Rules, closed forms and measures of your own must be registered first.
    Raises ``ConvertError`` for a file that is none of these, as the JSON of a comparison, is damaged, or of an unknown
    version: what is read has every table and view.

    >>> from tempfile import TemporaryDirectory
    >>> from torch import nn
    >>> from costmodel.profiling import profile
    >>> with TemporaryDirectory() as folder:
    ...     saved = profile(nn.Linear(8, 4), (2, 8)).save(f"{folder}/linear.json")
    ...     read_json(saved).macs
    64
    """
    path = as_path(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a zero byte in the path
        raise ConvertError(f"{path} cannot be read: {error}") from error
    return parse(text, str(path))


def read_costs(path: str | Path) -> Profile | TrainingStep:
    """What ``read_json`` reads, where it is a profile or a training step. Raises ``InputError`` for a measurement."""
    found = read_json(path)
    if isinstance(found, Measurement):
        raise InputError(f"{path} is a saved measurement, which has times and no costs: `costmodel measure` shows it")
    return found


def parse(text: str, where: str = "the text") -> Saved:
    """The profile, the training step or the measurement that a JSON text holds."""
    try:
        found = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise ConvertError(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise ConvertError(f"{where} is no profile: it is nested too deeply to be read") from error
    read = _FORMATS.get(str(found.get("format"))) if isinstance(found, dict) else None
    if read is None:
        raise ConvertError(
            f"{where} is JSON, and not a profile saved by costmodel, nor a training step or a measurement "
            f"(Profile.save('x.json')), which alone are read back: the JSON of other results is for other programs"
        )
    if found.get("version") != VERSION:
        raise ConvertError(
            f"{where} has version {short(found.get('version'))} of the format; this costmodel reads version "
            f"{VERSION}. Save it again with this costmodel, or read it with the one that wrote it"
        )
    of, build = read
    try:
        wrong = _validator(of)(found)
        if wrong is not None:
            raise ValueError(f"by its schema, the document{wrong}")
        return build(found)
    except Exception as error:  # a rule or a closed form may raise any, given arguments that no op was called with
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ConvertError(f"{where} is damaged: {reason}. Save it again") from error


def _profile(found: dict[str, Any]) -> Profile:
    reader = _Reader(found["graph"])
    p = Profile(reader.graph(found), found["name"])
    require_consistent(p.graph, reader.tensors)
    compute_everything(p)
    return p


def _step(found: dict[str, Any]) -> TrainingStep:
    reader = _Reader(found["graph"])
    graph, parts = reader.graph({"mode": "train", **found}), found["step"]
    require_consistent(graph, reader.tensors)
    phases = [(phase, start) for phase, start in parts["phases"]]
    indices: dict[str, Any] = {name: frozenset(parts[name]) for name in INDICES}
    settings: dict[str, Any] = {name: found[name] for name in SETTINGS}
    saved = [SavedTensor(*kept) for kept in parts["saved"]]
    record = StepRecord(graph, phases, saved, **indices, original=dict(parts["original"]), **settings)
    require_consistent_step(record)
    step = TrainingStep(record, found["name"])
    compute_every_part(step)
    return step


def _measurement(found: dict[str, Any]) -> Measurement:
    peaks, setting, runs = found["peaks"], found["setting"], len(found["total"]["runs"])
    m = Measurement(
        name=found["name"],
        inputs=tuple((tuple(given["shape"]), given["dtype"]) for given in found["inputs"]),
        total=_times(found["total"]),
        rows=tuple(_timed_layer(row) for row in found["layers"]),
        hooked=tuple(found["hooked"]),
        peaks=Peaks(**peaks | {"figures": tuple((name, rate, source) for name, rate, source in peaks["figures"])}),
        setting=Setting(**setting | {"clocks": tuple(setting["clocks"])}),
        is_exact=found["is_exact"],
        unmatched=found["unmatched"],
    )
    if any(row.times is not None and len(row.times.runs) != len(m.hooked) for row in m.rows) or len(m.hooked) > runs:
        raise ValueError("a layer has another number of runs than the forwards with hooks")
    return m


def _timed_layer(row: dict[str, Any]) -> TimedLayer:
    return TimedLayer(
        name=row["name"], type=row["type"], kind=row["kind"], macs=row["macs"], flops=row["flops"],
        nbytes=row["memory_access_bytes"], bound_by=row["bound_by"], bound=row["bound"],
        times=None if row["runs"] is None else _times(row),
    )  # fmt: skip


def _times(found: dict[str, Any]) -> Times:
    return Times(tuple(found["runs"]), found["bound"])


_FORMATS: Mapping[str, tuple[str, Callable[[dict[str, Any]], Saved]]] = {
    "costmodel-profile": ("profile", _profile),
    "costmodel-measurement": ("measurement", _measurement),
    "costmodel-training-step": ("training", _step),
}
"""For each format its schema, and what makes a result of it."""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not part of JSON")


@cache
def _validator(of: str) -> Callable[[Any], str | None]:
    return validator(schema(of))


class _Reader:
    """Reads the records of a graph."""

    def __init__(self, graph: dict[str, Any]) -> None:
        self.tensors = [
            TensorSpec(tuple(shape), dtype, None if strides is None else tuple(strides), storage, role, name)
            for shape, dtype, strides, storage, role, name in graph["tensors"]
        ]
        for i in graph.get("frozen", ()):  # older files of version 1 lack the key
            self.tensors[i].trainable = False
        for found in graph.get("sparse", ()):
            how = {key: value for key, value in found.items() if key != "tensor"}
            self.tensors[found["tensor"]].sparse = Sparse(**how | {"block": tuple(how["block"])})
        for found in graph.get("pruned", ()):
            self.tensors[found["tensor"]].zeros = found["zeros"]
        for found in graph.get("quantised", ()):
            self.tensors[found["tensor"]].scale_bytes = found["scale_bytes"]
        for found in graph.get("stored", ()):
            self.tensors[found["tensor"]].stored_bytes = found["bytes"]

    def graph(self, found: dict[str, Any]) -> Graph:
        g = found["graph"]
        modules = {
            m["name"]: ModuleInfo(
                m["name"], m["type"], self._tensors(m["parameters"]), self._tensors(m["buffers"]), tuple(m["aliases"])
            )
            for m in g["modules"]
        }
        ops = [
            OpCall(
                o["op"], {k: self.value(v) for k, v in o["args"].items()}, self._tensors(o["outputs"]), o["module"], i,
                o["inplace"],
            )
            for i, o in enumerate(g["ops"])
        ]  # fmt: skip
        calls = [self.call(c) for c in g["calls"]]
        notes = [Note(where, why) for where, why in g.get("notes", ())]
        return Graph(
            found["model"], Records(modules, ops, calls, [Storage(*s) for s in g["storages"]], notes),
            self.value(g["inputs"]), self.value(g["kwargs"]), self.value(g["outputs"]), found["execution"],
            found["mode"], g["reason"],
        )  # fmt: skip

    def call(self, c: dict[str, Any]) -> ModuleCall:
        layer = c["layer"]
        if layer is not None:
            hyper = {k: self.value(v) for k, v in layer["hyper"].items()}
            layer = LayerSpec(
                layer["key"], hyper, layer["kind"], layer.get("is_composite", False), _wanted(layer.get("gradients"))
            )
        plain = {k: v for k, v in c.items() if k not in NESTED}
        return ModuleCall(
            **plain, args=self.value(c["args"]), kwargs=self.value(c["kwargs"]), outputs=self.value(c["outputs"]),
            layer=layer,
        )  # fmt: skip

    def _tensors(self, indices: list[int]) -> tuple[TensorSpec, ...]:
        return tuple(self.tensors[i] for i in indices)

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(v) for v in value]
        if not isinstance(value, dict):
            return value
        ((what, inside),) = value.items()
        if what == "tensor":
            return self.tensors[inside]
        if what == "tuple":
            return tuple(self.value(v) for v in inside)
        if what == "dict":
            return {self.value(k): self.value(v) for k, v in inside}
        if what == "float":
            return float(inside)
        if what == "complex":
            return complex(float(inside[0]), float(inside[1]))
        if what == "cost":
            return _cost({k: self.value(v) for k, v in inside.items() if k != "work"}, inside["work"])
        if what == "other":
            return inside
        raise ValueError(f"unknown value {what!r}")


def _wanted(gradients: list[Any] | None) -> WantedGradients | None:
    if gradients is None:
        return None
    of_inputs, of_weights, of_biases, *arriving = gradients  # older files do not say at which outputs one arrives
    return tuple(of_inputs), of_weights, of_biases, tuple(arriving[0]) if arriving else (True,)


def _cost(parts: dict[str, Any], work: dict[str, Any]) -> LayerCost:
    counts = [v for k, v in parts.items() if k not in ("kind", "output_shape", "output_size")]
    counts += [*parts["output_shape"], *parts.get("output_size", ()), *work.values()]
    if not isinstance(parts["kind"], str) or any(type(n) is not int or n < 0 for n in counts):
        raise ValueError(f"the cost of a layer of one's own has something else than counts: {short(parts)}")
    return LayerCost(**parts, work=Work(**work))
