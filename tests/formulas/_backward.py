"""A layer's backward pass as torch runs it on the CPU, each op priced by its rule: what closed forms are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import sympy
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.formulas import LayerCost
from costmodel.formulas.gradient import BackwardCost, Extra, Needs
from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import find
from costmodel.quantities import Traffic, Work
from tests.ops._binding import OMITTED, spec_of

Quantities = dict[str, Any]


def needs(inputs: int, *, weight: bool = False, bias: bool = False) -> list[dict[str, Any]]:
    """Every combination of gradients that can be asked for of a layer of so many inputs; none is none."""
    flags = [(False, True)] * inputs
    given = product(*flags, (False, True) if weight else (False,), (False, True) if bias else (False,))
    return [{"inputs": g[:inputs], "weight": g[-2], "bias": g[-1]} for g in given if any(g)]


@dataclass
class Real:
    """What one backward pass ran and kept."""

    ops: list[OpCall] = field(default_factory=list)
    forward: list[OpCall] = field(default_factory=list)
    """The ops of the forward, where it was recorded."""
    kept: dict[str, int] = field(default_factory=dict)
    """Bytes of the storages that autograd kept: ``"input 0"``, ``"output"``, or a number for what the layer made."""

    @property
    def work(self) -> Work:
        """Of all ops, by their rules."""
        return work_of(self.ops)

    @property
    def traffic(self) -> Traffic:
        """Likewise."""
        return traffic_of(self.ops)

    def quantities(self) -> Quantities:
        """What a closed form says of a backward pass; bytes of what the layer made itself in one figure."""
        made = sum(size for name, size in self.kept.items() if name.isdigit())
        named = {name: size for name, size in self.kept.items() if not name.isdigit()}
        work, traffic = self.work, self.traffic
        return {
            "macs": work.macs, "flops": work.flops, "read": traffic.read, "written": traffic.written,
            "kept": named | ({"made": made} if made else {}),
        }  # fmt: skip

    def forward_quantities(self) -> Quantities:
        """What a closed form says of a forward in a training step."""
        work, traffic = work_of(self.forward), traffic_of(self.forward)
        return {"macs": work.macs, "flops": work.flops, "read": traffic.read, "written": traffic.written}


def forward_quantities(cost: LayerCost, wanted: Mapping[str, Any]) -> Quantities:
    """The same of a closed form, where these gradients are asked for."""
    more = Extra() if cost.when_trained is None else cost.when_trained(Needs(**wanted))
    work, read, written = cost.work + more.work, cost.read + more.read, cost.written + more.written
    return {"macs": work.macs, "flops": work.flops, "read": read, "written": written}


def work_of(ops: Sequence[OpCall]) -> Work:
    """The arithmetic of ops, by their rules."""
    return sum((_rule(op).work(op) for op in ops), Work())


def traffic_of(ops: Sequence[OpCall]) -> Traffic:
    """Their traffic, likewise."""
    return sum((_rule(op).traffic(op) for op in ops), Traffic())


def _rule(op: OpCall) -> Any:
    rule = find(op.op)
    assert rule is not None, f"no rule for {op.op}"
    return rule


class _Recorder(TorchDispatchMode):
    """Records the ops of autograd's nodes, and not those with which the engine adds up gradients between them.

    ``last`` are the nodes that have run; ``None``: it records a forward.
    """

    def __init__(self, last: list[Any] | None) -> None:
        super().__init__()
        self.ops: list[OpCall] = []
        self._last = last
        self._specs: dict[int, tuple[torch.Tensor, TensorSpec]] = {}

    def _spec(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            # One record a tensor, by which rules see that one is passed twice.
            return self._specs.setdefault(id(value), (value, spec_of(value)))[1]
        if isinstance(value, (list, tuple)):
            return [self._spec(v) for v in value]
        if isinstance(value, (torch.dtype, torch.memory_format)):
            return str(value).removeprefix("torch.")
        return value

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        node = torch._C._current_autograd_node()
        # A number becomes a tensor by an op only where a mode looks on.
        is_number = func is torch.ops.aten.scalar_tensor.default
        if not is_number and (self._last is None or (node is not None and node not in self._last)):
            schema = func._schema.arguments
            given = dict(zip((a.name for a in schema), args, strict=False)) | dict(kwargs)
            bound = {
                a.name: self._spec(given.get(a.name, a.default_value))
                for a in schema
                if not a.is_out and a.name not in OMITTED
            }
            outputs = result if isinstance(result, (list, tuple)) else (result,)
            inplace = bool(schema and schema[0].alias_info is not None and schema[0].alias_info.is_write)
            specs = tuple(self._spec(t) for t in outputs if isinstance(t, torch.Tensor))
            self.ops.append(OpCall(str(func), bound, specs, inplace=inplace))
        return result


def real(
    function: Callable[..., Any],
    inputs: Sequence[torch.Tensor | None],
    weights: Sequence[torch.Tensor | None] = (),
    biases: Sequence[torch.Tensor | None] = (),
    buffers: Sequence[torch.Tensor | None] = (),
    *,
    wanted: Mapping[str, Any],
) -> Real:
    """The backward pass of ``function(*inputs, *weights, *biases, *buffers)``, of its first result.

    ``wanted`` says which gradients, as ``LayerCost.backward`` takes it.
    """
    of_inputs = wanted["inputs"]
    of_inputs = (of_inputs,) * len(inputs) if isinstance(of_inputs, bool) else of_inputs
    flags = [*of_inputs, *[wanted["weight"]] * len(weights), *[wanted["bias"]] * len(biases), *[False] * len(buffers)]
    given = [
        None if t is None else t.detach().requires_grad_(flag)
        for t, flag in zip([*inputs, *weights, *biases, *buffers], flags, strict=True)
    ]
    kept: list[torch.Tensor] = []

    def keep(t: torch.Tensor) -> torch.Tensor:
        kept.append(t)
        return t

    # What a layer is given in a network is no leaf, and may be changed in place.
    def arriving() -> list[torch.Tensor | None]:
        learnt = [i < len(inputs) and t is not None and t.requires_grad for i, t in enumerate(given)]
        return [t.clone() if t is not None and flag else t for t, flag in zip(given, learnt, strict=True)]

    arrived, again = arriving(), arriving()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        result = function(*arrived)
    output = result[0] if isinstance(result, tuple) else result
    found = Real(kept=_storages(kept, arrived[: len(inputs)], given[len(inputs) :], output))
    with _Recorder(None) as forward:
        function(*again)
    found.forward = forward.ops
    found.ops = _ops_of_backward([output], [t for t in given if t is not None and t.requires_grad])
    return found


def real_network(network: nn.Module, image: torch.Tensor) -> Real:
    """The backward pass of all that a network returns, with all its parameters learnt."""
    kept: list[torch.Tensor] = []

    def keep(t: torch.Tensor) -> torch.Tensor:
        kept.append(t)
        return t

    # In a network, what a block is given is no leaf.
    given = image.clone() if image.requires_grad else image
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), _Recorder(None) as forward:
        result = network(given)
    outputs = result if isinstance(result, tuple) else (result,)
    own = [*network.parameters(), *network.buffers()]
    found = Real(forward=forward.ops, kept=_storages(kept, [given], own, outputs[0]))
    learnt = [*network.parameters(), *([image] if image.requires_grad else [])]
    found.ops = _ops_of_backward(outputs, learnt)
    return found


def _ops_of_backward(outputs: Sequence[torch.Tensor], learnt: Sequence[torch.Tensor]) -> list[OpCall]:
    last: list[Any] = []
    for node in dict.fromkeys(node for output in outputs for node in _nodes(output.grad_fn)):
        node.register_hook(lambda *_, node=node: last.append(node))
    gradients = [torch.ones_like(output).contiguous() for output in outputs]
    with _Recorder(last) as recorder:
        torch.autograd.grad(outputs, learnt, gradients, allow_unused=True)
    return recorder.ops


def _nodes(root: Any) -> list[Any]:
    found, waiting = {root: None}, [root]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in found:
                found[node] = None
                waiting.append(node)
    return [node for node in found if "AccumulateGrad" not in node.name()]


def _address(t: torch.Tensor) -> int:
    return t.untyped_storage()._cdata


def _storages(
    kept: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor | None],
    parameters: Sequence[torch.Tensor | None],
    output: torch.Tensor,
) -> dict[str, int]:
    names = {_address(output): "output"}
    names |= {_address(t): f"input {i}" for i, t in reversed(list(enumerate(inputs))) if t is not None}
    learnt = {_address(t) for t in parameters if t is not None}
    found: dict[str, int] = {}
    for t in kept:
        address = _address(t)
        if address not in learnt:
            found[names.setdefault(address, str(len(names)))] = t.untyped_storage().nbytes()
    return {name: size for name, size in found.items() if size}


def quantities(cost: BackwardCost, itemsize: int = 4) -> Quantities:
    """The same of a closed form."""
    kept: dict[str, Any] = {}
    for saved in cost.saved:
        own = saved.tensor == "output" or saved.tensor.partition(" ")[0] == "input"
        name = (f"{saved.tensor} 0" if saved.tensor == "input" else saved.tensor) if own else "made"
        size = saved.elements * (itemsize if saved.itemsize is None else saved.itemsize)
        kept[name] = kept.get(name, 0) + size
    return {
        "macs": cost.macs, "flops": cost.flops, "read": cost.read, "written": cost.written,
        "kept": {name: size for name, size in kept.items() if not (isinstance(size, int) and size == 0)},
    }  # fmt: skip


def assert_same_on_arrays_and_symbols(
    formula: Callable[..., LayerCost], arguments: Mapping[str, Any], wanted: Mapping[str, Any], free_of: Any = ()
) -> None:
    """A sweep of two configurations gives what each gives alone; symbols become ints once numbers are put in."""
    alone = _flat(formula(**arguments), wanted)
    numbers: dict[sympy.Symbol, int] = {}

    def symbol(value: int) -> sympy.Symbol:
        made = sympy.Symbol(f"s{value}", integer=True, positive=True)
        numbers[made] = value
        return made

    def swept(make: Any) -> dict[str, Any]:
        return {k: v if k in free_of else _spread(v, make) for k, v in arguments.items()}

    arrays = _flat(formula(**swept(lambda v: np.array([v, v], dtype=np.int64))), wanted)
    symbols = _flat(formula(**swept(symbol)), wanted)
    for name, value in alone.items():
        assert np.all(np.asarray(arrays[name]) == value), name
        assert sympy.sympify(symbols[name]).subs(numbers) == value, name


def _spread(value: Any, make: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_spread(part, make) for part in value)
    return make(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _flat(cost: LayerCost, wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = quantities(cost.backward(**wanted))
    forward = {f"forward {name}": value for name, value in forward_quantities(cost, wanted).items()}
    return {**found.pop("kept"), **found, **forward}
