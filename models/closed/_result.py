"""What `closed_form` returns: a whole network's cost, in total and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.formulas import Field
from costmodel.formulas.cost import Sum
from costmodel.formulas.row import Row
from costmodel.quantities import Count
from costmodel.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

TOTALS = ("params", "buffers", "macs", "flops", "memory_access", "activations")
"""The quantities that are summed over the layers."""

IN_TRAINING = (
    "forward_macs",
    "backward_macs",
    "forward_flops",
    "backward_flops",
    "forward_memory_access",
    "backward_memory_access",
    "saved_bytes",
)
"""Those of a network in training, beside: there `macs`, `flops` and `memory_access` are the sums of both passes."""

COLUMNS = (
    "name",
    "kind",
    "output_shape",
    "params",
    "macs",
    "flops",
    "memory_access",
    "activations",
    "receptive_field",
    "stride",
)
"""The columns of `layers`; they mean what those of `Profile.layers` mean."""


class Totals:
    """The sums over a network's layers, added up as they come."""

    def __init__(self) -> None:
        self._forward = Sum()
        self._passes: dict[str, Count] = {}

    def add(self, row: Row) -> None:
        """One more layer."""
        self._forward.add(row.cost)
        if row.backward is not None:
            for name in IN_TRAINING:
                self._passes[name] = self._passes.get(name, 0) + getattr(row, name)

    def counts(self, *, training: bool) -> dict[str, Count]:
        """By name: `TOTALS`, and `IN_TRAINING` in training."""
        total = self._forward.total()
        counts = {name: getattr(total, name) for name in TOTALS}
        if training:
            counts |= self._passes
            for name in ("macs", "flops", "memory_access"):
                counts[name] = counts[name] + counts[f"backward_{name}"]
        return counts


@dataclass(frozen=True, eq=False)
class ClosedForm(Shown):
    """The cost of a network by arithmetic on its paper's table.

    Totals are ints; NumPy arrays where a multiplier was one, one element per configuration; and sympy expressions
    where one was a symbol. They are declared ``int``; to a type checker, ``numpy.asarray(form.macs)`` is an array.
    """

    view: ClassVar[str] = "closed form"

    name: str
    arguments: Mapping[str, Any]
    """Every argument of the network, with its default where none was given, `batch` and `mode`."""
    params: int
    """Elements of all parameters, of auxiliary classifiers that do not run too."""
    buffers: int
    """Elements of running statistics, likewise."""
    macs: int
    """Multiply-accumulates."""
    flops: int
    """Arithmetic operations, a multiply-accumulate being two."""
    memory_access: int
    """Elements read and written, every operation a kernel of its own."""
    activations: int
    """Output elements of convolutions and matrix products."""
    walk: Callable[[Callable[[Row], None]], None] = field(repr=False)
    """Goes through the network again and calls back with each row."""
    forward_macs: int | None = None
    """In training, as all that follow, and ``None`` else: the share of the forward in `macs`."""
    backward_macs: int | None = None
    """The share of the backward pass in `macs`; all parameters are learnt, and the image needs no gradient."""
    forward_flops: int | None = None
    backward_flops: int | None = None
    forward_memory_access: int | None = None
    backward_memory_access: int | None = None
    saved_bytes: int | None = None
    """Bytes that the forward keeps for the backward pass, 4 an element of a feature map: each tensor once, the image
    where a layer keeps it, parameters and buffers apart."""

    @property
    def is_training(self) -> bool:
        """Whether a backward pass is counted."""
        return self.saved_bytes is not None

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The layers that run, in order: those of the trace of the built network, under the names that it gives them.

        They are computed on demand: those of a sweep hold many arrays.
        """
        return tuple(row for row in self._all() if row.runs)

    @cached_property
    def idle(self) -> tuple[Row, ...]:
        """The layers that have parameters and do not run: auxiliary classifiers outside training."""
        return tuple(row for row in self._all() if not row.runs)

    @property
    def layers(self) -> pd.DataFrame:
        """One row per layer that runs: name, kind, output_shape, params, macs ... (`COLUMNS`, and `IN_TRAINING`).

        `saved_bytes` of a layer are those of the tensors that no layer before it keeps.
        """
        import pandas as pd

        columns = [*COLUMNS, *(IN_TRAINING if self.is_training else ())]
        table = [tuple(getattr(row, column) for column in columns) for row in self.rows]
        return pd.DataFrame(table, columns=columns)

    def receptive_field(self, layer: str | None = None) -> tuple[Field, ...]:
        """What an output position of a layer sees of the input, per spatial axis: size, stride, start and padding.

        Args:
            layer: the name of a row of `layers`; None for the deepest feature map whose field is still local (before
                global pooling or flatten), which is what a paper calls the network's receptive field.

        Raises:
            ValueError: no layer has this name.
        """
        for row in reversed(self.rows):
            if row.is_local if layer is None else row.name == layer:
                return row.fields
        raise ValueError(f"no layer of {self.name} is called {layer!r}; the names are those of `layers`")

    def to_pandas(self) -> pd.DataFrame:
        """The table of layers."""
        return self.layers

    @property
    def table(self) -> pd.DataFrame:
        """One row per configuration of a sweep (one in all without a sweep): the arguments and the totals."""
        import numpy as np
        import pandas as pd

        totals = (*TOTALS, *(IN_TRAINING if self.is_training else ()))
        values = {**self.arguments, **{name: getattr(self, name) for name in totals}}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values())) if arrays else (1,)
        columns: dict[str, Any] = {}
        for name, value in values.items():
            if name in arrays:
                columns[name] = np.broadcast_to(value, shape).ravel()
            else:
                columns[name] = [value] * int(np.prod(shape))
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={_short(value)}" for name, value in self.arguments.items())
        return (
            f"<ClosedForm of {self.name}({given}): params={_short(self.params)}, macs={_short(self.macs)}, "
            f"flops={_short(self.flops)}>"
        )

    def _all(self) -> list[Row]:
        rows: list[Row] = []
        self.walk(rows.append)
        return rows


def _short(value: Any) -> str:
    """A value as it is, or what a sweep has in its place."""
    if getattr(value, "shape", ()):
        return f"{value.size:,} values"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
