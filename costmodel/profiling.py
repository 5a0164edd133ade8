"""``profile``: traces a model and returns a ``Profile``, its costs and analyses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel import late
from costmodel.errors import CostModelError, UnknownOpError, require_torch
from costmodel.graph import Graph, Note, TensorSpec, tensors_in
from costmodel.origin import Origin
from costmodel.pricing import Pricing
from costmodel.records import dataclass
from costmodel.rendering import Report, without_passes
from costmodel.shown import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from costmodel.conventions import Readings, Recount
    from costmodel.cross_check import CrossCheck
    from costmodel.fusion import Fusion
    from costmodel.guidelines import Guidelines
    from costmodel.measures import Number
    from costmodel.memory import LayerMemory, PeakMemory
    from costmodel.receptive_field import Fields, ReceptiveField
    from costmodel.roofline import Roofline
    from costmodel.tables import LayerFigures
    from costmodel.trace import Execution, Mode


@dataclass(frozen=True)
class Coverage(Shown):
    """Every op that ran, in exactly one of three groups; and where figures are lower bounds for another reason."""

    view: ClassVar[str] = "coverage"

    counted: dict[str, int]
    """Ops whose cost is counted, and how often they ran."""
    free: dict[str, str]
    """Ops that cost nothing, and why."""
    unknown: dict[str, tuple[str, ...]]
    """Ops without a rule, and the modules in which they ran. Add a rule with ``costmodel.register_op``."""
    bounds: tuple[Note, ...] = ()
    """Where (``where``, a module) a figure is a lower bound for another reason, and which (``why``)."""


@dataclass(frozen=True, eq=False)
class Profile(Report):
    """What a model costs on given inputs. Every figure is an exact integer."""

    view: ClassVar[str] = "profile"

    graph: Graph
    """What ran: ops, module calls, tensors."""
    name: str
    """The model's name in reports."""
    origin: Origin | None = field(default=None, repr=False)
    """What finds the model again, while it lives."""

    @cached_property
    def pricing(self) -> Pricing:
        """The graph with the cost of every op."""
        return Pricing(self.graph)

    @cached_property
    def fusion(self) -> Fusion:
        """The ops grouped into fused kernels: which elementwise ops could run in the kernel of which op."""
        from costmodel.fusion import Fusion

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
        """Arithmetic operations: 2 per multiply-accumulate, 1 for any other."""
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
    @without_passes()
    def memory_access(self) -> int:
        """Elements read and written, every op a kernel of its own."""
        return int(self.pricing.traffic.elements)

    @property
    @without_passes()
    def memory_access_bytes(self) -> int:
        """The same in bytes."""
        return int(self.pricing.traffic.bytes)

    @property
    @without_passes()
    def fused_memory_access(self) -> int:
        """Elements read and written with elementwise ops fused into the kernel that made their input: a lower bound."""
        return int(self.fusion.traffic.elements)

    @property
    @without_passes()
    def fused_memory_access_bytes(self) -> int:
        """The same in bytes."""
        return int(self.fusion.traffic.bytes)

    @property
    def peak_memory(self) -> int:
        """The peak of live activations in bytes, inputs included, parameters and buffers excluded."""
        return self.peak.nbytes

    @cached_property
    @without_passes()
    def activations(self) -> int:
        """Output elements of convolutions and matrix products."""
        return sum(op.activations for op in self.pricing.ops)

    @property
    def trainable_params(self) -> int:
        """Elements of the distinct parameters that require a gradient."""
        return int(self.total("trainable_params") or 0)

    @property
    def params_bytes(self) -> int:
        """Bytes of the distinct parameters as they are stored."""
        return int(self.total("params_bytes") or 0)

    @property
    def active_params(self) -> int:
        """Elements of the distinct parameters that an op of this run reads: of a mixture, those of the experts used."""
        return int(self.total("active_params") or 0)

    @property
    def nonzero_params(self) -> int:
        """Elements of the distinct parameters that no mask makes zero, ``torch.nn.utils.prune``'s or another."""
        return int(self.total("nonzero_params") or 0)

    @cached_property
    @without_passes()
    def nonzero_macs(self) -> int:
        """MACs without those that multiply an element of a weight that a mask makes zero."""
        return sum(op.nonzero_macs for op in self.pricing.ops)

    @without_passes()
    def total(self, name: str) -> Number | None:
        """The model's total of a measure (``costmodel.measures.MEASURES``), also of a registered one.

        ``None`` for a measure that does not add up over layers and does not say what a whole model has of it.
        Raises ``CostModelError`` for a name that no measure has.
        """
        from costmodel.measures import named

        return named(name).total(self)

    def figures(self, name: str) -> list[Number]:
        """What each layer has of a measure, in the order of ``layers``.

        Raises ``CostModelError`` for a name that no measure has, and for a measure that only a whole model has.
        """
        from costmodel.measures import named

        if named(name).of_layer is None:
            raise CostModelError(f"only a whole model has {name!r}: Profile.total({name!r})")
        return self._figures.of(name)

    @cached_property
    def _figures(self) -> LayerFigures:
        from costmodel.tables import LayerFigures

        return LayerFigures(self.pricing)

    @property
    @without_passes()
    def is_exact(self) -> bool:
        """Whether every op that ran has a rule that gives its exact cost. If not, totals are lower bounds."""
        return self.pricing.is_exact

    @property
    def execution(self) -> str:
        """How the model was read: ``meta``, without computing, or ``real``."""
        return self.graph.execution

    @property
    def mode(self) -> str:
        """The mode of the forward pass: ``eval`` or ``train``."""
        return self.graph.mode

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that the model was given."""
        return tuple(tensors_in((self.graph.inputs, self.graph.kwargs)))

    @property
    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """Shared parameters by first name, each with the other modules that hold it."""
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
        """Ops that cost something, ops that are free, ops without a rule; and where figures are lower bounds."""
        counted: dict[str, int] = {}
        free: dict[str, str] = {}
        for op in self.pricing.ops:
            if op.rule is None:
                continue
            if op.rule.free_because is not None:
                free[op.call.op] = op.rule.free_because
            else:
                counted[op.call.op] = counted.get(op.call.op, 0) + 1
        return Coverage(counted, free, self.pricing.unknown, self.pricing.bounds)

    # -- tables ---------------------------------------------------------------------------------------------------

    @property
    @without_passes()
    def layers(self) -> pd.DataFrame:
        """One row per call of a leaf module and per op outside leaf modules, in order of execution."""
        from costmodel.tables import layer_table

        fields = [self._fields.of(layer) for layer in self.pricing.layers]
        return layer_table(self._figures, [(None, None) if f is None else (f.size, f.stride) for f in fields])

    @property
    @without_passes()
    def ops(self) -> pd.DataFrame:
        """One row per aten op."""
        from costmodel.tables import op_table

        return op_table(self.pricing)

    @property
    @without_passes()
    def modules(self) -> pd.DataFrame:
        """One row per module of the tree, with the totals of its subtree."""
        from costmodel.tables import module_table

        return module_table(self._figures)

    def to_pandas(self) -> pd.DataFrame:
        """The table of layers. ``costmodel.tables.LAYER_COLUMNS`` says what each column counts, and in which unit."""
        return self.layers

    # -- analyses -------------------------------------------------------------------------------------------------

    def crosscheck(self) -> CrossCheck:
        """Compares the trace of every leaf layer with its closed form."""
        return self._checked

    @cached_property
    @without_passes()
    def _checked(self) -> CrossCheck:
        from costmodel.cross_check import check

        return replace(check(self.pricing), model=self.name)

    def counted_as(self, tool: str) -> Recount:
        """What another tool prints for this model and these inputs, and why it differs from ``macs``.

        The tool need not be installed. The model is traced once more, when this is first asked: hold it meanwhile, as a
        profile does not.

        Args:
            tool: one of ``costmodel.TOOLS``.

        Raises:
            InputError: there is no such tool.
            CostModelError: the model is gone, as of a profile that was read from a file; or the tool fails on it.
        """
        return self._readings.counted_as(tool)

    @cached_property
    def _readings(self) -> Readings:
        from costmodel.conventions import Readings

        return Readings(self.name, self.origin, self.mode, self.macs)

    @cached_property
    @without_passes()
    def peak(self) -> PeakMemory:
        """Where the most bytes are live, which tensors those are, and the live bytes over time."""
        from costmodel.memory import peak_memory

        return peak_memory(self.pricing)

    @property
    def memory(self) -> pd.DataFrame:
        """One row per layer: traffic unfused and fused, arithmetic intensity, and the bound of 1x1 convolutions."""
        from costmodel.memory import memory_table

        return memory_table(self.layer_memory)

    @cached_property
    def layer_memory(self) -> tuple[LayerMemory, ...]:
        """The records behind the table ``memory``, in the order of ``layers``."""
        from costmodel.memory import layer_memory

        return layer_memory(self.pricing, self.fusion)

    @without_passes()
    def guidelines(self) -> Guidelines:
        """ShuffleNetV2's four guidelines, layer by layer, ranked by what following them would save."""
        from costmodel.guidelines import guidelines

        return replace(guidelines(self.pricing, self.fusion), model=self.name)

    @without_passes()
    def roofline(self, device: str, math: str = "float32") -> Roofline:
        """A lower bound of each layer's time on a device, and of the total.

        Args:
            device: one of ``costmodel.devices.device_names()``.
            math: how products of float32 tensors are computed: ``"float32"``, or ``"tf32"`` on a GPU that has it, as
                cuDNN's convolutions do by torch's default.
        """
        from costmodel.devices import device as named
        from costmodel.roofline import roofline

        return replace(roofline(self.pricing, self.fusion, named(device), math), model=self.name)

    def receptive_field(self, layer: str | None = None, position: tuple[int, ...] | None = None) -> ReceptiveField:
        """The input positions that an output position of a layer depends on, per spatial axis.

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
        """The field of the deepest feature map whose field is still local, or ``None`` if there is none."""
        from costmodel.receptive_field import UnknownLayerError

        try:
            return self.receptive_field()
        except UnknownLayerError:
            return None

    @property
    def global_attention(self) -> str | None:
        """The first attention that joins all positions of the input, if any: behind it the field is the whole input."""
        if not any(layer.may_join_positions for layer in self.pricing.layers):
            return None  # without receptive fields, whose import takes 4 ms
        first = self._fields.attention
        return None if first is None else first.name

    # -- views ----------------------------------------------------------------------------------------------------

    def to_text(
        self,
        *,
        depth: int | None = None,
        sort: str | None = None,
        top: int | None = None,
        columns: Sequence[str] | None = None,
        full_names: bool = False,
        fold: bool = True,
        width: int | None = None,
    ) -> str:
        """The profile as ``str`` has it, with the options of ``costmodel profile``.

        Args:
            depth: levels of the module tree to show; as many as fit into 60 rows where it is not given.
            sort: a quantity; the layers are then listed flat, the greatest first.
            top: how many layers to list, the greatest first.
            columns: names of columns, such as ``["kind", "params", "share"]``.
            full_names: module names in full, without truncation.
            fold: three and more blocks or layers in a row that differ in their names alone are one row, and one of
                them below it.
            width: characters of a line; the terminal's, or 120.
        """
        return self._render(
            "text", depth=depth, sort=sort, top=top, columns=columns, full_names=full_names, fold=fold, width=width
        )

    def to_markdown(self, *, fold: bool = True) -> str:
        """The profile as Markdown.

        With ``fold``, three and more blocks or layers in a row that differ in their names alone are one row, and one of
        them has a table of its own.
        """
        return self._render("markdown", fold=fold)

    def plot_layers(self, quantity: str = "macs", ax: Axes | None = None) -> Figure:
        """A quantity of each layer, in order of execution, drawn into ``ax`` if given."""
        from costmodel.views import figures

        return figures.layers(self, quantity, ax)

    def plot_kinds(self, quantity: str = "macs", ax: Axes | None = None) -> Figure:
        """A quantity by kind of layer."""
        from costmodel.views import figures

        return figures.kinds(self, quantity, ax)

    def plot_receptive_field(self, ax: Axes | None = None) -> Figure:
        """The receptive field of each layer."""
        from costmodel.views import figures

        return figures.receptive_field(self, ax)

    def plot_memory(self, ax: Axes | None = None) -> Figure:
        """Live activations over the execution, with the peak."""
        from costmodel.views import figures

        return figures.memory(self, ax)

    def plot_roofline(self, device: str, ax: Axes | None = None, math: str = "float32") -> Figure:
        """The layers under a device's roof, with the arguments of ``roofline``."""
        from costmodel.views import figures

        return figures.roofline(self, device, ax, math)

    def __getstate__(self) -> dict[str, Any]:
        # What was computed is computed again where it is read: with the rules and measures that are registered there.
        return {"graph": self.graph, "name": self.name, "origin": self.origin}

    def __repr__(self) -> str:
        from costmodel.views.units import printable

        bound = "" if self.is_exact else "≥"
        figures = f"params={self.params:,}, macs={bound}{self.macs:,}, flops={bound}{self.flops:,}"
        return f"<Profile of {printable(self.name)}: {figures}>"

    @cached_property
    def _fields(self) -> Fields:
        from costmodel.receptive_field import Fields

        return Fields(self.pricing)


def profile(
    model: nn.Module | Callable[..., Any] | str,
    inputs: Any = None,
    *,
    mode: Mode = "eval",
    strict: bool = False,
    execution: Execution = "auto",
    dtype: Any = None,
) -> Profile:
    """What a model costs, read from one forward pass that computes nothing and leaves the model unchanged.

    Args:
        model: any ``nn.Module``, on any device; a bound method of one (``model.encode``); a plain function, with the
            modules and parameters that it uses (in its closure, defaults and global variables); or a spec string as
            ``costmodel.load`` takes it. Lazy modules take their shapes from the inputs, and are lazy again afterwards.
        inputs: a shape such as ``(1, 3, 224, 224)``; a tensor or a NumPy array; a ``costmodel.Input`` (shape and
            dtype); one object that holds tensors (a dataclass, a namedtuple, a graph); a tuple or list of those for
            several inputs, nested as the model takes them; a dict of keyword inputs; a ``costmodel.call`` for both, or
            a pair of a tuple and a dict of keywords; ``None`` asks the model itself. The model is given copies.
        mode: the mode of the forward pass, ``"eval"`` or ``"train"``.
        strict: raise where an op has no rule or a figure is a lower bound, instead of marking the profile inexact.
        execution: ``"meta"`` computes nothing; ``"real"`` runs the model on real tensors; ``"auto"`` does the first,
            and the second where the forward fails without values, for whatever reason (``graph.reason`` says why).
            Small integer tensors that are given keep their values; where a model looks into integers of which a shape
            was given, they are zeros. Tensors name the model's own device.
        dtype: price the model and its floating inputs as if they were of this dtype, ``"bfloat16"`` or
            ``torch.bfloat16``.

    Threads: while it runs, the model's modules are in ``mode``, and real runs work on copies of its buffers. Another
    thread that runs the same model at that time would see this: profile a copy (``copy.deepcopy(model)``), or in the
    mode in which the model is, which then is not touched. Profiles wait for each other, and ``os.fork`` for them.

    Raises:
        InputError: the arguments cannot be understood.
        ForwardError: the model's forward failed; the message names the layer, the line and the shapes.
        UnknownOpError: with ``strict``, an op without a rule ran, or a figure is a lower bound.
        NeedsValuesError: with ``execution="meta"``, the model reads a tensor's value.

    >>> from torch import nn
    >>> p = profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 32, 32))
    >>> p.macs, p.flops, p.params
    (194400, 403200, 224)
    """
    require_torch("costmodel.profile" if not isinstance(model, str) else repr(model))
    with late.uncollected():
        from costmodel.layers.capture import capture
        from costmodel.trace import trace

    def traced(module: nn.Module | Callable[..., Any]) -> Graph:
        return trace(module, inputs, mode=mode, execution=execution, dtype=dtype, capture=capture)

    origin = Origin(model, inputs, execution=execution, dtype=dtype)
    if isinstance(model, str):
        from costmodel.loading import apply

        result = Profile(apply(traced, model, weights=execution == "real"), model, origin)
    else:
        graph = traced(model)
        result = Profile(graph, graph.model, origin)
    if strict:
        require_exact(result)
    return result


def require_exact(p: Profile) -> None:
    """Raises ``UnknownOpError`` if an op that ran has no rule, or a figure is a lower bound."""
    if p.pricing.unknown:
        raise UnknownOpError(_unknown_message(p))
    if p.pricing.bounds:
        parts = [f"in {note.where or 'the model itself'}, {note.why}" for note in p.pricing.bounds]
        raise UnknownOpError(f"a figure is a lower bound: {'; '.join(parts)}. Pass strict=False to accept that.")


def _unknown_message(result: Profile) -> str:
    parts = []
    for op, where in result.pricing.unknown.items():
        call = next(c for c in result.graph.ops if c.op == op)
        shapes = [t.shape for t in call.outputs]
        parts.append(f"no rule for {op!r} in module {where[0]!r} (outputs {shapes})")
    return f"{'; '.join(parts)}. Add one with costmodel.register_op, or pass strict=False."


def __getattr__(name: str) -> Any:
    # LAYER_COLUMNS, OP_COLUMNS and MODULE_COLUMNS, without the tables for a profile that shows none.
    if name.endswith("_COLUMNS"):
        from costmodel import tables

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
