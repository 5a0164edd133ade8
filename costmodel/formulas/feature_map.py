"""The builder of blocks and networks: a feature map goes through layers, and the cost of each is recorded.

``x.conv("conv1", 64, 3)`` is the map after a convolution, whose cost, by its formula, the walk has recorded under that
name. Every block of this package and every network of ``costmodel.models`` is written in these methods, one per layer
type: what a formula newly says of its layer reaches all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from costmodel.formulas._arguments import same_in_every_configuration
from costmodel.formulas._fields import Fields
from costmodel.formulas.activation import activation
from costmodel.formulas.composite_normalisation import local_response_norm
from costmodel.formulas.convolution import conv
from costmodel.formulas.cost import BlockCost, HasTotal, LayerCost
from costmodel.formulas.elementwise import add, concat, dropout, multiply, view
from costmodel.formulas.geometry import Field
from costmodel.formulas.linear import linear
from costmodel.formulas.normalisation import batch_norm
from costmodel.formulas.pooling import adaptive_avg_pool, avg_pool, max_pool
from costmodel.formulas.resampling import channel_shuffle
from costmodel.quantities import Count, prod

Names = Callable[[str], str]
"""A block's layers in a network: from the name that the block gives a layer to the one that the network gives it."""


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

    @property
    def total(self) -> LayerCost:
        """The layer's cost."""
        return self.cost

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How a block or network writes down a convolution with what follows it."""

    norm: bool = True
    """Whether a batch norm follows; without one, the convolution has a bias."""
    conv_name: str = "{name}.conv"
    norm_name: str = "{name}.norm"
    act_name: str = "{name}.act"
    shuffle_kind: str = "resample"
    """The kind that a channel shuffle is counted as."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """What holds for a whole block or network: batch, mode and style, and what is done with each row."""

    record: Callable[[Row], None]
    batch: Count = 1
    training: bool = False
    style: Style = field(default_factory=Style)
    tracks_fields: bool = False
    """Whether rows have their receptive fields."""
    mixes_layers: bool = False
    """Whether a layer may be in some configurations of a sweep only, and count 0 in the others."""

    def image(self, channels: Count, *size: Count) -> FeatureMap:
        """The input."""
        fields = Fields.of_input(size) if self.tracks_fields else None
        return FeatureMap(self, (self.batch, channels, *size), fields)

    def idle(self) -> Walk:
        """The walk through layers that do not run: their parameters count, their work does not."""

        def record(row: Row) -> None:
            self.record(replace(row, cost=row.cost.parameters_only(), runs=False))

        return replace(self, record=record)


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A map of ``shape`` (batch, channels, *size), or (batch, features)."""

    walk: Walk
    shape: tuple[Count, ...]
    fields: Fields | None
    """What a position sees of the input; None where the walk does not track it."""
    where: Count = True
    """Which configurations of a sweep have the next layers. A layer that none has is left out."""

    @property
    def channels(self) -> Count:
        """Its channels, or features."""
        return self.shape[1]

    @property
    def size(self) -> tuple[Count, ...]:
        """Its spatial size."""
        return self.shape[2:]

    # -- where --------------------------------------------------------------------------------------------------------

    def only_where(self, where: Count, *, that: str) -> FeatureMap:
        """The same map; only configurations in which the condition holds have the next layers, until ``everywhere``."""
        if not self.walk.mixes_layers:
            where = same_in_every_configuration(where, that=that)
        elif hasattr(where, "all") and (where.all() or not where.any()):
            where = bool(where.all())
        return replace(self, where=where)

    def everywhere(self) -> FeatureMap:
        """The same map; every configuration has the next layers."""
        return replace(self, where=True)

    # -- convolutions and products ------------------------------------------------------------------------------------

    def conv(
        self,
        name: str,
        c_out: Count,
        kernel: Count = 1,
        *,
        stride: Count = 1,
        padding: Count | None = None,
        groups: Count = 1,
        bias: bool = False,
    ) -> FeatureMap:
        """A convolution; unless ``padding`` is given, it keeps the size at stride 1."""
        if padding is None:
            padding = _half(kernel, name)
        cost = conv(
            c_in=self.channels,
            c_out=c_out,
            kernel=kernel,
            size=self.size,
            stride=stride,
            padding=padding,
            groups=groups,
            bias=bias,
            batch=self.walk.batch,
        )
        return self._after_window(name, cost, kernel, stride, padding)

    def conv_norm_act(
        self,
        name: str,
        c_out: Count,
        kernel: Count = 1,
        *,
        act: str | None = None,
        stride: Count = 1,
        padding: Count | None = None,
        groups: Count = 1,
        bias: bool | None = None,
    ) -> FeatureMap:
        """A convolution, its batch norm where the style has one, and its activation where there is one."""
        style = self.walk.style
        y = self.conv(
            style.conv_name.format(name=name),
            c_out,
            kernel,
            stride=stride,
            padding=padding,
            groups=groups,
            bias=not style.norm if bias is None else bias,
        )
        if style.norm:
            y = y.norm(style.norm_name.format(name=name))
        return y.act(style.act_name.format(name=name, act=act), act) if act else y

    def linear(self, name: str, features: Count, *, bias: bool = True) -> FeatureMap:
        """A fully connected layer on a flattened map."""
        cost = linear(in_features=self.channels, out_features=features, bias=bias, rows=(self.walk.batch,))
        return self._after(name, cost, Fields.after_linear)

    # -- element by element -------------------------------------------------------------------------------------------

    def norm(self, name: str) -> FeatureMap:
        """A batch norm."""
        walk = self.walk
        cost = batch_norm(channels=self.channels, size=self.size, batch=walk.batch, training=walk.training)
        return self._after(name, cost)

    def local_response_norm(self, name: str, local_size: int) -> FeatureMap:
        """AlexNet's normalisation, over neighbouring channels."""
        cost = local_response_norm(channels=self.channels, size=self.size, local_size=local_size, batch=self.walk.batch)
        return self._after(name, cost)

    def act(self, name: str, act: str) -> FeatureMap:
        """An activation by its name in ``ACTIVATIONS``."""
        return self._after(name, activation(name=act, shape=self.shape))

    def dropout(self, name: str, *, inplace: bool = False) -> FeatureMap:
        """Dropout, which does nothing but in training."""
        return self._after(name, dropout(shape=self.shape, training=self.walk.training, inplace=inplace))

    # -- pooling ------------------------------------------------------------------------------------------------------

    def max_pool(
        self, name: str, kernel: int, stride: Count, *, padding: int = 0, ceil_mode: bool = False
    ) -> FeatureMap:
        """The maximum of each window."""
        cost = max_pool(
            channels=self.channels,
            size=self.size,
            kernel=kernel,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            batch=self.walk.batch,
        )
        return self._after_window(name, cost, kernel, stride, padding)

    def avg_pool(self, name: str, kernel: int, stride: Count, *, padding: int = 0) -> FeatureMap:
        """The mean of each window."""
        cost = avg_pool(
            channels=self.channels,
            size=self.size,
            kernel=kernel,
            stride=stride,
            padding=padding,
            batch=self.walk.batch,
        )
        return self._after_window(name, cost, kernel, stride, padding)

    def adaptive_avg_pool(self, name: str, output_size: int = 1) -> FeatureMap:
        """The means of as many windows as are asked for; one window is the whole map."""
        cost = adaptive_avg_pool(channels=self.channels, size=self.size, output_size=output_size, batch=self.walk.batch)
        if output_size == 1:
            return self._after(name, cost, Fields.whole_input)
        return self._after(name, cost, lambda fields: fields.after_adaptive_pool(self.size, output_size), adaptive=True)

    # -- the same elements in another shape ---------------------------------------------------------------------------

    def part(self, name: str, channels: Count) -> FeatureMap:
        """Some of the channels: a view, which moves nothing."""
        return self._after(name, view(shape=(self.walk.batch, channels, *self.size)))

    def flatten(self, name: str, axes: int | None = None) -> FeatureMap:
        """(batch, channels, *size) as (batch, features), or with only the first spatial axes joined to the channels."""
        joined, kept = (self.size, ()) if axes is None else (self.size[:axes], self.size[axes:])
        cost = view(shape=(self.walk.batch, self.channels * prod(joined), *kept))
        return self._after(name, cost, lambda fields: fields.after_flatten(joined, axes=len(self.size)))

    def shuffle(self, name: str, groups: Count) -> FeatureMap:
        """Channels dealt out over the groups."""
        cost = channel_shuffle(channels=self.channels, size=self.size, groups=groups, batch=self.walk.batch)
        return self._after(name, replace(cost, kind=self.walk.style.shuffle_kind))

    # -- where maps meet ----------------------------------------------------------------------------------------------

    def add(self, name: str, other: FeatureMap) -> FeatureMap:
        """The sum with a map of the same shape."""
        return self._after_maps(name, add(shape=self.shape), other)

    def scale(self, name: str, factors: FeatureMap) -> FeatureMap:
        """The product with one factor per channel. The factors may see all of the input; the map's own fields stay."""
        return self._after(name, multiply(shape=self.shape, other=factors.shape))

    def concat(self, name: str, *others: FeatureMap) -> FeatureMap:
        """This map and others, joined along channels."""
        channels = [x.channels for x in (self, *others)]
        return self._after_maps(name, concat(channels=channels, size=self.size, batch=self.walk.batch), *others)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _after_window(self, name: str, cost: LayerCost, kernel: Count, stride: Count, padding: Count) -> FeatureMap:
        axes = len(self.size)
        return self._after(name, cost, lambda fields: fields.after_window(kernel, stride, padding, axes=axes))

    def _after_maps(self, name: str, cost: LayerCost, *others: FeatureMap) -> FeatureMap:
        return self._after(name, cost, lambda fields: fields.joined_with(*(x.fields for x in others if x.fields)))

    def _after(
        self,
        name: str,
        cost: LayerCost,
        seen: Callable[[Fields], Fields] | None = None,
        *,
        adaptive: bool = False,
    ) -> FeatureMap:
        """The map after a layer of this cost, which is recorded. Every layer goes through here."""
        if self.where is False:
            return self
        _require_positions(name, cost)
        fields = self.fields if seen is None or self.fields is None else seen(self.fields)
        here = cost if self.where is True else cost.times(self.where)
        self.walk.record(Row(name=name, cost=here, fields=fields.axes if fields else (), adaptive=adaptive))
        return FeatureMap(self.walk, cost.output_shape, fields, self.where)


IN_BLOCKS = Style(conv_name="{name}", norm_name="{name}_norm", act_name="{name}_{act}")
"""How the blocks of ``costmodel.formulas`` name their layers."""


class Block:
    """A block by itself, at inference: take ``x`` through its layers, then ask for the cost."""

    def __init__(self, channels: Count, size: Sequence[Count], *, batch: Count = 1, norm: bool = True) -> None:
        self._rows: list[Row] = []
        walk = Walk(record=self._rows.append, batch=batch, style=replace(IN_BLOCKS, norm=norm))
        self.x = walk.image(channels, *size)

    @property
    def cost(self) -> BlockCost:
        """The layers so far; views, which move nothing, are not listed."""
        return BlockCost(layers=tuple((row.name, row.cost) for row in self._rows if row.kind != "view"))


def _half(kernel: Count, name: str) -> Count:
    """The padding on each side that keeps the size at stride 1."""
    if isinstance(kernel, tuple):
        return tuple(_half(k, name) for k in kernel)
    if isinstance(kernel, int) and kernel % 2 == 0:
        raise ValueError(
            f"kernel={kernel} of {name} is even, and cannot be padded alike on both sides: choose an odd one"
        )
    return (kernel - 1) // 2


def _require_positions(name: str, cost: LayerCost) -> None:
    """Refuses a sweep in which some map has no position left; for single configurations the formulas do."""
    for n in cost.output_size:
        if hasattr(n, "min") and n.min() < 1:
            raise ValueError(f"{name} has no output position in some configurations of this sweep: enlarge resolution")
