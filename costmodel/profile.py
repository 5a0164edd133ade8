"""``profile``: trace a model, and everything that can be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.crosscheck import CrossCheck, check
from costmodel.errors import UnknownOpError
from costmodel.fusion import Fusion
from costmodel.graph import Graph, TensorSpec, tensors_in
from costmodel.memory import LayerMemory, PeakMemory, layer_memory, memory_table, peak_memory
from costmodel.pricing import Pricing, TracedLayer
from costmodel.rendering import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from costmodel.guidelines import Guidelines
    from costmodel.receptive_field import Fields, ReceptiveField
    from costmodel.roofline import Roofline
    from costmodel.trace import Execution, Mode


@dataclass(frozen=True)
class Coverage:
    """Every op that ran, in exactly one of three places."""

    counted: dict[str, int]
    """Ops with a price, and how often they ran."""
    free: dict[str, str]
    """Ops that cost nothing, and why."""
    unknown: dict[str, tuple[str, ...]]
    """Ops without a rule, and the modules in which they ran. Add a rule with ``costmodel.register_op``."""


@dataclass(frozen=True, eq=False)
class Profile(Report):
    """What a model costs on given inputs. Every figure is an exact integer."""

    view: ClassVar[str] = "profile"

    graph: Graph
    """What ran: ops, module calls, tensors."""
    name: str
    """What the model is called in reports."""

    @cached_property
    def pricing(self) -> Pricing:
        """The graph with a price on every op."""
        return Pricing(self.graph)

    @cached_property
    def fusion(self) -> Fusion:
        """The priced graph as kernels: which elementwise ops could join which op."""
        return Fusion(self.pricing)

    # -- totals ---------------------------------------------------------------------------------------------------

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and matrix products, taps on padding included."""
        return int(self.pricing.work.macs)

    @property
    def macs_on_padding(self) -> int:
        """How many of ``macs`` multiply a zero of the padding."""
        return int(self.pricing.work.macs_on_padding)

    @property
    def flops(self) -> int:
        """Arithmetic operations: 2 a multiply-accumulate, 1 every other."""
        return int(self.pricing.work.flops)

    @cached_property
    def params(self) -> int:
        """Elements of distinct parameters; a shared one counts once, an unused one counts."""
        return sum(p.size for p in self.graph.parameters().values())

    @cached_property
    def buffers(self) -> int:
        """Elements of distinct buffers."""
        return sum(b.size for b in self.graph.buffers().values())

    @property
    def memory_access(self) -> int:
        """Elements read and written, every op a kernel of its own."""
        return int(self.pricing.traffic.elements)

    @property
    def memory_access_bytes(self) -> int:
        """The same in bytes."""
        return int(self.pricing.traffic.bytes)

    @property
    def fused_memory_access(self) -> int:
        """Elements read and written with elementwise ops joined to the kernel that made their input: a lower bound."""
        return int(self.fusion.traffic.elements)

    @property
    def fused_memory_access_bytes(self) -> int:
        """The same in bytes."""
        return int(self.fusion.traffic.bytes)

    @property
    def peak_memory(self) -> int:
        """Bytes of live activations at the worst moment, the inputs included, parameters and buffers apart."""
        return self.peak.nbytes

    @cached_property
    def activations(self) -> int:
        """Output elements of convolutions and matrix products."""
        return sum(op.activations for op in self.pricing.ops)

    @property
    def is_exact(self) -> bool:
        """Whether every op that ran had a rule. Where not, totals are lower bounds."""
        return not self.pricing.unknown

    @property
    def execution(self) -> str:
        """How the model was read: ``meta``, without computing, or ``real``."""
        return self.graph.execution

    @property
    def mode(self) -> str:
        """Which forward was priced: ``eval`` or ``train``."""
        return self.graph.mode

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that the model was given."""
        return tuple(tensors_in((self.graph.inputs, self.graph.kwargs)))

    @property
    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """Parameters that several modules hold, by first name, with the further modules that hold them."""
        holders: dict[int, list[str]] = {}
        for module in self.graph.modules.values():
            for p in module.parameters:
                holders.setdefault(p.storage, []).append(module.name)
        return {
            p.name: tuple(holders[p.storage][1:])
            for p in self.graph.parameters().values()
            if len(holders[p.storage]) > 1
        }

    @cached_property
    def coverage(self) -> Coverage:
        """Which ops were counted, which are free and why, and which have no rule."""
        counted: dict[str, int] = {}
        free: dict[str, str] = {}
        for op in self.pricing.ops:
            if op.rule is None:
                continue
            if op.rule.free_because is not None:
                free[op.call.op] = op.rule.free_because
            else:
                counted[op.call.op] = counted.get(op.call.op, 0) + 1
        return Coverage(counted, free, self.pricing.unknown)

    # -- tables ---------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> pd.DataFrame:
        """One row per call of a leaf module, and one per op that ran outside any, in order."""
        import pandas as pd

        return pd.DataFrame(self._layer_rows, columns=list(LAYER_COLUMNS))

    @property
    def ops(self) -> pd.DataFrame:
        """One row per aten op."""
        import pandas as pd

        rows = []
        for op in self.pricing.ops:
            work, traffic = op.work, op.traffic
            rows.append(
                (
                    op.call.index, op.call.op, self.pricing.module_name(op.call), op.kind,
                    tuple(t.shape for _, t in op.call.tensors()), tuple(t.shape for t in op.call.outputs),
                    work.macs, work.flops, traffic.elements, traffic.bytes, op.activations, work.macs_on_padding,
                )
            )  # fmt: skip
        return pd.DataFrame(rows, columns=list(OP_COLUMNS))

    @property
    def modules(self) -> pd.DataFrame:
        """One row per module of the tree, with the totals of its subtree."""
        import pandas as pd

        totals = {name: [0] * 6 for name in self.graph.modules}
        above: dict[int, tuple[str, ...]] = {-1: ("",) if "" in totals else ()}
        for call in self.graph.calls:
            chain = above[call.parent]
            if call.owner is not None and call.owner not in chain:
                chain = (*chain, call.owner)
            above[call.index] = chain
            if call.owner is not None:
                totals[call.owner][0] += 1
        for op in self.pricing.ops:
            work, traffic = op.work, op.traffic
            for owner in above[op.call.module]:
                row = totals[owner]
                row[1] += work.macs
                row[2] += work.flops
                row[3] += traffic.elements
                row[4] += traffic.bytes
                row[5] += op.activations
        rows = []
        for name, module in self.graph.modules.items():
            held = {p.storage: p.size for m in self.pricing.subtree(name) for p in m.parameters}
            calls, macs, flops, access, access_bytes, activations = totals[name]
            depth = name.count(".") + 1 if name else 0
            rows.append(
                (name, module.type, depth, calls, sum(held.values()), macs, flops, access, access_bytes, activations)
            )
        return pd.DataFrame(rows, columns=list(MODULE_COLUMNS))

    def to_pandas(self) -> pd.DataFrame:
        """The table of layers. ``LAYER_COLUMNS`` of this module says what each column counts, and in which unit."""
        return self.layers

    # -- analyses -------------------------------------------------------------------------------------------------

    def crosscheck(self) -> CrossCheck:
        """Every leaf layer derived a second time, in closed form, and compared."""
        return self._checked

    @cached_property
    def _checked(self) -> CrossCheck:
        return check(self.pricing)

    @cached_property
    def peak(self) -> PeakMemory:
        """Where the most bytes are live, which tensors those are, and the live bytes over time."""
        return peak_memory(self.pricing)

    @property
    def memory(self) -> pd.DataFrame:
        """One row per layer: traffic alone and fused, arithmetic intensity, 1x1 convolutions held to their bound."""
        return memory_table(self.layer_memory)

    @cached_property
    def layer_memory(self) -> tuple[LayerMemory, ...]:
        """The records behind the table ``memory``, in the order of ``layers``."""
        return layer_memory(self.pricing, self.fusion)

    def guidelines(self) -> Guidelines:
        """ShuffleNetV2's four guidelines, layer by layer, ranked by what keeping them would save."""
        from costmodel.guidelines import guidelines

        return guidelines(self.pricing, self.fusion)

    def roofline(self, device: str) -> Roofline:
        """A lower bound of each layer's time on a device (``costmodel.devices.device_names``), and of the total."""
        from costmodel.devices import device as named
        from costmodel.roofline import roofline

        return roofline(self.pricing, self.fusion, named(device))

    def receptive_field(self, layer: str | None = None, position: tuple[int, ...] | None = None) -> ReceptiveField:
        """What an output position of a layer sees of the input, per spatial axis.

        Args:
            layer: the name of a module or of a row of ``layers``; ``None`` for the deepest feature map whose field is
                still local (before global pooling, flatten or attention).
            position: one output position, as an index for each dimension of the output that holds an axis of the input.

        Raises:
            UnknownLayerError: there is no such layer, or it depends on no input position.
        """
        return self._fields.at(layer, position)

    @property
    def local_receptive_field(self) -> ReceptiveField | None:
        """That of the deepest feature map whose field is still local; ``None`` where there is no such map."""
        from costmodel.receptive_field import UnknownLayerError

        try:
            return self.receptive_field()
        except UnknownLayerError:
            return None

    # -- views ----------------------------------------------------------------------------------------------------

    def plot_layers(self, quantity: str = "macs", ax: Axes | None = None) -> Figure:
        """A quantity of each layer, in order of execution; into ``ax`` where one is given."""
        from costmodel.views import figures

        return figures.layers(self, quantity, ax)

    def plot_kinds(self, quantity: str = "macs", ax: Axes | None = None) -> Figure:
        """A quantity by kind of layer."""
        from costmodel.views import figures

        return figures.kinds(self, quantity, ax)

    def plot_receptive_field(self, ax: Axes | None = None) -> Figure:
        """How far one output position of each layer sees."""
        from costmodel.views import figures

        return figures.receptive_field(self, ax)

    def plot_memory(self, ax: Axes | None = None) -> Figure:
        """Live activations over the execution, with the peak."""
        from costmodel.views import figures

        return figures.memory(self, ax)

    def plot_roofline(self, device: str, ax: Axes | None = None) -> Figure:
        """The layers under a device's roof."""
        from costmodel.views import figures

        return figures.roofline(self, device, ax)

    def __getstate__(self) -> dict[str, Any]:
        # What was computed is computed again where it is read: with the rules and measures that are registered there.
        return {"graph": self.graph, "name": self.name}

    def __repr__(self) -> str:
        bound = "" if self.is_exact else "≥"
        return (
            f"<Profile of {self.name}: params={self.params:,}, macs={bound}{self.macs:,}, flops={bound}{self.flops:,}>"
        )

    @cached_property
    def _layer_rows(self) -> list[tuple[Any, ...]]:
        return [self._layer_row(layer) for layer in self.pricing.layers]

    def _layer_row(self, layer: TracedLayer) -> tuple[Any, ...]:
        work, traffic = layer.work, layer.traffic
        return (
            layer.name, layer.type, layer.kind, _shape(layer.inputs), _shape(layer.outputs),
            sum(p.size for p in layer.new_parameters), work.macs, work.flops, traffic.elements, traffic.bytes,
            sum(op.activations for op in layer.ops), *self._field_columns(layer),
        )  # fmt: skip

    @cached_property
    def _fields(self) -> Fields:
        from costmodel.receptive_field import Fields

        return Fields(self.pricing)

    def _field_columns(self, layer: TracedLayer) -> tuple[Any, Any]:
        field = self._fields.of(layer)
        return (None, None) if field is None else (field.size, field.stride)


LAYER_COLUMNS = {
    "name": "qualified name of the module; module/op for an op that ran outside any leaf",
    "type": "class of the module, or the op's full name",
    "kind": "the field's word: standard conv, depthwise conv, norm ...",
    "input_shape": "shape of the first input",
    "output_shape": "shape of the first output",
    "params": "elements of the parameters that the layer adds to the model's total",
    "macs": "multiply-accumulates",
    "flops": "arithmetic operations, a multiply-accumulate being two",
    "memory_access": "elements read and written",
    "memory_access_bytes": "bytes read and written",
    "activations": "output elements of convolutions and matrix products",
    "receptive_field": "input positions that one output position sees, per spatial axis",
    "stride": "input positions between neighbouring output positions, per spatial axis",
}
"""The columns of ``Profile.layers``, and what they mean."""

OP_COLUMNS = {
    "index": "position in the execution",
    "op": "namespace.name.overload",
    "module": "qualified name of the innermost module it ran in",
    "kind": "the field's word",
    "input_shapes": "shapes of all tensor arguments",
    "output_shapes": "shapes of all outputs",
    "macs": "multiply-accumulates",
    "flops": "arithmetic operations, a multiply-accumulate being two",
    "memory_access": "elements read and written",
    "memory_access_bytes": "bytes read and written",
    "activations": "output elements, of a convolution or matrix product",
    "macs_on_padding": "multiply-accumulates with a zero of the padding",
}
"""The columns of ``Profile.ops``."""

MODULE_COLUMNS = {
    "name": "qualified name, empty for the model itself",
    "type": "class",
    "depth": "0 for the model itself",
    "calls": "how often it was called",
    "params": "elements of the distinct parameters of its subtree",
    "macs": "multiply-accumulates of its subtree, all calls",
    "flops": "arithmetic operations, likewise",
    "memory_access": "elements read and written, likewise",
    "memory_access_bytes": "bytes read and written, likewise",
    "activations": "output elements of convolutions and matrix products, likewise",
}
"""The columns of ``Profile.modules``."""


def _shape(tensors: tuple[TensorSpec, ...]) -> tuple[int, ...]:
    return tensors[0].shape if tensors else ()


def profile(
    model: nn.Module | str,
    inputs: Any = None,
    *,
    mode: Mode = "eval",
    strict: bool = False,
    execution: Execution = "auto",
) -> Profile:
    """What a model costs, read from one forward in which nothing is computed; the model stays exactly as it was.

    Args:
        model: any ``nn.Module``, on any device, or a spec string as ``costmodel.load`` takes it.
        inputs: a shape such as ``(1, 3, 224, 224)``; a tensor; a ``costmodel.Input`` (shape and dtype); a tuple or
            list of those, nested as the model takes them; a dict of keyword inputs; ``None`` asks the model itself.
        mode: which forward is priced, ``"eval"`` or ``"train"``.
        strict: raise on an op without a rule, instead of marking the profile inexact.
        execution: ``"meta"`` computes nothing; ``"real"`` runs the model on real tensors; ``"auto"`` does the first,
            and the second for a model that asks for a tensor's value.

    Raises:
        InputError: the arguments cannot be understood.
        ForwardError: the model's forward failed; the message names the layer and the shapes.
        UnknownOpError: with ``strict``, an op without a rule ran.
        NeedsValuesError: with ``execution="meta"``, the model asked for a tensor's value.

    >>> from torch import nn
    >>> p = profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 32, 32))
    >>> p.macs, p.flops, p.params
    (194400, 403200, 224)
    """
    # A saved profile is read where there is no torch.
    from costmodel import layers as closed
    from costmodel.trace import trace

    def traced(module: nn.Module) -> Graph:
        return trace(module, inputs, mode=mode, execution=execution, capture=closed.capture)

    if isinstance(model, str):
        from costmodel.load import priced

        result = Profile(priced(model, traced, weights=execution == "real"), model)
    else:
        result = Profile(traced(model), type(model).__name__)
    if strict:
        require_exact(result)
    return result


def require_exact(p: Profile) -> None:
    """Raises ``UnknownOpError`` if an op that ran has no rule."""
    if not p.is_exact:
        raise UnknownOpError(_unknown_message(p))


def _unknown_message(result: Profile) -> str:
    parts = []
    for op, where in result.pricing.unknown.items():
        call = next(c for c in result.graph.ops if c.op == op)
        shapes = [t.shape for t in call.outputs]
        parts.append(f"no rule for {op!r} in module {where[0]!r} (outputs {shapes})")
    return f"{'; '.join(parts)}. Add one with costmodel.register_op, or pass strict=False."
