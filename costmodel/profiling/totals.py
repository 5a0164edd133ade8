"""The figures of a model's priced graph, before any table or analysis of it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from costmodel.errors import CostModelError
from costmodel.graph import Graph, TensorSpec, tensors_in
from costmodel.pricing import Pricing
from costmodel.records import dataclass
from costmodel.rendering import Report, without_passes

if TYPE_CHECKING:
    from costmodel.fusion import Fusion
    from costmodel.measures import Number
    from costmodel.memory import PeakMemory
    from costmodel.profiling.coverage import Coverage
    from costmodel.tables import LayerFigures


@dataclass(frozen=True, eq=False)
class Totals(Report):
    """What ran, priced, and its totals. Every figure is an exact integer."""

    graph: Graph
    """What ran: ops, module calls, tensors."""
    name: str
    """The model's name in reports."""

    @cached_property
    def pricing(self) -> Pricing:
        """The graph with the cost of every op."""
        return Pricing(self.graph)

    @cached_property
    def fusion(self) -> Fusion:
        """The ops grouped into fused kernels: which elementwise ops could run in the kernel of which op."""
        from costmodel.fusion import Fusion

        return Fusion(self.pricing)

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
        from costmodel.profiling.coverage import coverage_of

        return coverage_of(self.pricing)

    @cached_property
    @without_passes()
    def peak(self) -> PeakMemory:
        """Where the most bytes are live, which tensors those are, and the live bytes over time."""
        from costmodel.memory import peak_memory

        return peak_memory(self.pricing)
