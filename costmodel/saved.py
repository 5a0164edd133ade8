"""Profiles read back from the JSON that ``costmodel.views.json`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from costmodel.errors import ConvertError
from costmodel.files import as_path
from costmodel.formulas import LayerCost
from costmodel.graph import Graph, LayerSpec, ModuleCall, ModuleInfo, Note, OpCall, Records, Sparse, Storage, TensorSpec
from costmodel.profile import Profile
from costmodel.quantities import Work
from costmodel.views.json import NESTED, VERSION


def read_json(path: str | Path) -> Profile:
    """The profile that ``Profile.save("x.json")`` or ``Profile.to_json`` wrote.

    Figures are computed anew from what ran. Rules, closed forms and measures of your own must be registered first.
    Raises ``ConvertError`` for a file that is not a profile, or of an unknown version.
    """
    path = as_path(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a zero byte in the path
        raise ConvertError(f"{path} cannot be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, where: str = "the text") -> Profile:
    """The profile that a JSON text holds."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConvertError(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != "costmodel-profile":
        raise ConvertError(f"{where} is JSON, and not a profile saved by costmodel (Profile.save('x.json'))")
    if found.get("version") != VERSION:
        raise ConvertError(
            f"{where} has version {found.get('version')!r} of the format; this costmodel reads version {VERSION}. "
            f"Save it again with this costmodel, or read it with the one that wrote it"
        )
    try:
        return Profile(_Reader(found["graph"]).graph(found), found["name"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ConvertError(f"{where} is damaged: {type(error).__name__}: {error}") from error


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
            layer = LayerSpec(layer["key"], {k: self.value(v) for k, v in layer["hyper"].items()}, layer["kind"])
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
            parts = {k: self.value(v) for k, v in inside.items() if k != "work"}
            return LayerCost(**parts, work=Work(**inside["work"]))
        if what == "other":
            return inside
        raise ValueError(f"unknown value {what!r}")
