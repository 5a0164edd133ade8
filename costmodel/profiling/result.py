"""``Profile``: what a model costs on given inputs, as totals, tables, analyses and views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.origin import Origin
from costmodel.profiling.totals import Totals
from costmodel.records import dataclass
from costmodel.rendering import without_passes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.conventions import Readings, Recount
    from costmodel.cross_check import CrossCheck
    from costmodel.guidelines import Guidelines
    from costmodel.memory import LayerMemory
    from costmodel.receptive_field import Fields, ReceptiveField
    from costmodel.roofline import Roofline


@dataclass(frozen=True, eq=False)
class Profile(Totals):
    """What a model costs on given inputs. Every figure is an exact integer."""

    view: ClassVar[str] = "profile"

    origin: Origin | None = field(default=None, repr=False)
    """What finds the model again, while it lives."""

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
