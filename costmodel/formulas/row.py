"""One layer of a block or network in closed form: its name, its cost, and what it sees and shares."""

from __future__ import annotations

from dataclasses import field

from costmodel.formulas._wiring import Wired
from costmodel.formulas.cost import HasTotal, LayerCost
from costmodel.formulas.geometry import Field
from costmodel.formulas.gradient import BackwardCost
from costmodel.quantities import Count
from costmodel.records import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Row(HasTotal):
    """One layer of a walk."""

    name: str
    cost: LayerCost
    fields: tuple[Field, ...] = ()
    """What an output position sees of the input, per spatial axis; stride None where there is only one position."""
    runs: bool = True
    """False for a layer that has parameters and does not run."""
    adaptive: bool = False
    """Whether its windows were chosen to give a map of a certain size, and so step unevenly."""
    wired: Wired | None = field(default=None, repr=False, compare=False)
    """What it takes and makes; ``None`` for a layer that does not run."""
    backward: BackwardCost | None = None
    """Its backward pass, where the network is trained; what it keeps are the tensors that no layer before it keeps."""

    @property
    def total(self) -> LayerCost:
        """The layer's cost."""
        return self.cost

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward, and in training of the backward pass."""
        return self.forward_macs + self.backward_macs

    @property
    def flops(self) -> int:
        """Arithmetic operations, likewise."""
        return self.forward_flops + self.backward_flops

    @property
    def memory_access(self) -> Count:
        """Elements read plus elements written, likewise."""
        return self.forward_memory_access + self.backward_memory_access

    @property
    def forward_macs(self) -> int:
        """Multiply-accumulates of the forward."""
        return self.cost.macs

    @property
    def backward_macs(self) -> int:
        """Multiply-accumulates of the backward pass, 0 where there is none."""
        return 0 if self.backward is None else self.backward.macs

    @property
    def forward_flops(self) -> int:
        """Arithmetic operations of the forward."""
        return self.cost.flops

    @property
    def backward_flops(self) -> int:
        """Those of the backward pass."""
        return 0 if self.backward is None else self.backward.flops

    @property
    def forward_memory_access(self) -> int:
        """Elements that the forward reads and writes."""
        return self.cost.memory_access

    @property
    def backward_memory_access(self) -> Count:
        """Those of the backward pass."""
        return 0 if self.backward is None else self.backward.memory_access

    @property
    def saved_bytes(self) -> Count:
        """Bytes that are kept for the backward pass because of this layer, and of none before it."""
        return 0 if self.backward is None else self.backward.saved_bytes()

    @property
    def kind(self) -> str:
        """The category: standard conv, depthwise conv, norm, ..."""
        return self.cost.kind

    @property
    def receptive_field(self) -> tuple[Count, ...]:
        """Input positions that an output position sees, per spatial axis."""
        return tuple(field.size for field in self.fields)

    @property
    def stride(self) -> tuple[Count | None, ...]:
        """Input positions between neighbouring output positions, per spatial axis."""
        return tuple(field.stride for field in self.fields)

    @property
    def is_local(self) -> bool:
        """Whether its output is a feature map, each position of which has a field of its own on every axis."""
        spatial = len(self.output_shape) - 2 == len(self.fields)
        return spatial and not self.adaptive and all(field.stride is not None for field in self.fields)
