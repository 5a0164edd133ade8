"""The builder of blocks and networks: a feature map goes through layers, and the cost of each is recorded.

``x.conv("conv1", 64, 3)`` is the map after a convolution, whose cost, by its formula, the walk has recorded under that
name. Every block of this package and every network of ``costmodel.models`` is written in these methods, one per layer
type: what a formula newly says of its layer reaches all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from functools import partial

from costmodel.formulas._arguments import exact_quotient, same_in_every_configuration
from costmodel.formulas._fields import Fields
from costmodel.formulas._wiring import Operand, Wired
from costmodel.formulas.activations import ACTIVATIONS, activation
from costmodel.formulas.composite_normalisation import local_response_norm
from costmodel.formulas.convolution import conv
from costmodel.formulas.cost import BlockCost, LayerCost
from costmodel.formulas.elementwise import add, concat, dropout, multiply, view
from costmodel.formulas.gradient import BackwardCost, of_input
from costmodel.formulas.normalisation import batch_norm
from costmodel.formulas.pooling import adaptive_avg_pool, avg_pool, max_pool
from costmodel.formulas.products import linear
from costmodel.formulas.resampling import channel_shuffle
from costmodel.formulas.row import Row
from costmodel.quantities import Count, prod
from costmodel.records import dataclass

Names = Callable[[str], str]
"""A block's layers in a network: from the name that the block gives a layer to the one that the network gives it."""


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
    is_differentiated: bool = False
    """Whether rows have what their backward pass is made of, in training."""
    mixes_layers: bool = False
    """Whether a layer may be in some configurations of a sweep only, and count 0 in the others."""

    @property
    def is_trained(self) -> bool:
        """Whether the forward is one that autograd records, which writes what the backward pass needs."""
        return self.training and self.is_differentiated

    def image(self, channels: Count, *size: Count) -> FeatureMap:
        """The input."""
        fields = Fields.of_input(size) if self.tracks_fields else None
        shape = (self.batch, channels, *size)
        return FeatureMap(self, shape, fields, Operand.fresh(shape, False))

    def idle(self) -> Walk:
        """The walk through layers that do not run: their parameters count, their work does not."""

        def record(row: Row) -> None:
            self.record(replace(row, cost=row.cost.parameters_only(), runs=False, wired=None))

        return replace(self, record=record)


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A map of ``shape`` (batch, channels, *size), or (batch, features)."""

    walk: Walk
    shape: tuple[Count, ...]
    fields: Fields | None
    """What a position sees of the input; None where the walk does not track it."""
    operand: Operand
    """Where it lies, and whether something learnt made it."""
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
        costs = [
            batch_norm(channels=self.channels, size=self.size, batch=walk.batch, training=training)
            for training in ((walk.training, True) if walk.is_differentiated else (walk.training,))
        ]
        return self._after(name, costs[0], in_training=costs[-1])

    def local_response_norm(self, name: str, local_size: int) -> FeatureMap:
        """AlexNet's normalisation, over neighbouring channels."""
        cost = local_response_norm(channels=self.channels, size=self.size, local_size=local_size, batch=self.walk.batch)
        return self._after(name, cost)

    def act(self, name: str, act: str, *, in_place: bool = True) -> FeatureMap:
        """An activation by its name in ``ACTIVATIONS``; in place where torch has it so."""
        cost, overwrites = activation(name=act, shape=self.shape), in_place and act in _IN_PLACE
        if self.walk.is_trained and overwrites and "input" in ACTIVATIONS[act].keeps:
            n = prod(self.shape)
            cost = replace(cost, read=cost.read + n, written=cost.written + n)  # of what it writes over, a copy is kept
        return self._after(name, cost, overwrites=overwrites)

    def dropout(self, name: str, *, inplace: bool = False) -> FeatureMap:
        """Dropout, which does nothing but in training."""
        cost = dropout(shape=self.shape, training=self.walk.training, inplace=inplace)
        is_on = self.walk.training
        if self.walk.is_trained:  # autograd on the CPU has no one kernel for it
            cost = dropout(shape=self.shape, training=True, inplace=True)
        return self._after(name, cost, overwrites=inplace and is_on, views=not is_on)

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
            return_indices=self.walk.is_trained,
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
        """The first channels: a view, which moves nothing."""
        shape = (self.walk.batch, channels, *self.size)
        return self._after(name, view(shape=shape, sliced_from=prod(self.shape)), views=True)

    def halves(self, name: str) -> FeatureMap:
        """Either half of the channels: views of the map, to which the gradients of both are joined."""
        cost = view(shape=(self.walk.batch, exact_quotient(self.channels, 2), *self.size))
        joined = BackwardCost(read=prod(self.shape), written=prod(self.shape))
        return self._after(name, replace(cost, gradient=partial(of_input, joined)), views=True)

    def flatten(self, name: str, axes: int | None = None) -> FeatureMap:
        """(batch, channels, *size) as (batch, features), or with only the first spatial axes joined to the channels."""
        joined, kept = (self.size, ()) if axes is None else (self.size[:axes], self.size[axes:])
        cost = view(shape=(self.walk.batch, self.channels * prod(joined), *kept))
        return self._after(name, cost, lambda fields: fields.after_flatten(joined, axes=len(self.size)), views=True)

    def shuffle(self, name: str, groups: Count) -> FeatureMap:
        """Channels dealt out over the groups."""
        cost = channel_shuffle(channels=self.channels, size=self.size, groups=groups, batch=self.walk.batch)
        return self._after(name, replace(cost, kind=self.walk.style.shuffle_kind))

    # -- where maps meet ----------------------------------------------------------------------------------------------

    def add(self, name: str, other: FeatureMap) -> FeatureMap:
        """The sum with a map of the same shape, in place."""
        return self._after_maps(name, add(shape=self.shape), other, overwrites=True)

    def scale(self, name: str, factors: FeatureMap) -> FeatureMap:
        """The product with one factor per channel. The factors may see all of the input; the map's own fields stay."""
        return self._after(name, multiply(shape=self.shape, other=factors.shape), others=(factors,))

    def concat(self, name: str, *others: FeatureMap) -> FeatureMap:
        """This map and others, joined along channels."""
        channels = [x.channels for x in (self, *others)]
        return self._after_maps(name, concat(channels=channels, size=self.size, batch=self.walk.batch), *others)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _after_window(self, name: str, cost: LayerCost, kernel: Count, stride: Count, padding: Count) -> FeatureMap:
        axes = len(self.size)
        return self._after(name, cost, lambda fields: fields.after_window(kernel, stride, padding, axes=axes))

    def _after_maps(self, name: str, cost: LayerCost, *others: FeatureMap, overwrites: bool = False) -> FeatureMap:
        def seen(fields: Fields) -> Fields:
            return fields.joined_with(*(x.fields for x in others if x.fields))

        return self._after(name, cost, seen, others=others, overwrites=overwrites)

    def _after(
        self,
        name: str,
        cost: LayerCost,
        seen: Callable[[Fields], Fields] | None = None,
        *,
        adaptive: bool = False,
        others: Sequence[FeatureMap] = (),
        overwrites: bool = False,
        views: bool = False,
        in_training: LayerCost | None = None,
    ) -> FeatureMap:
        """The map after a layer of this cost, which is recorded. Every layer goes through here.

        ``others`` are what it takes beside this map, which it may write over, or return a view of; ``in_training`` is
        its cost there, where that is another.
        """
        if self.where is False:
            return self
        _require_positions(name, cost)
        fields = self.fields if seen is None or self.fields is None else seen(self.fields)
        here = cost if self.where is True else cost.times(self.where)
        wired, output = None, self.operand
        if self.walk.is_differentiated:
            inputs = (self.operand, *(x.operand for x in others))
            is_learnt = any(x.is_learnt for x in inputs) or not (isinstance(cost.params, int) and cost.params == 0)
            made = Operand.fresh(cost.output_shape, is_learnt)
            if overwrites or views:
                made = replace(made, place=self.operand.place, is_view=views or self.operand.is_view)
            where = 1 if self.where is True else self.where
            output = made.where_left_out(self.operand, where)
            wired = Wired(
                name=name,
                cost=in_training or cost,
                inputs=inputs,
                output=output,
                overwrites=overwrites,
                where=where,
            )
        axes = fields.axes if fields else ()
        self.walk.record(Row(name=name, cost=here, fields=axes, adaptive=adaptive, wired=wired))
        return FeatureMap(self.walk, cost.output_shape, fields, output, self.where)


_IN_PLACE = frozenset({
    "relu", "relu6", "hardtanh", "threshold", "leaky_relu", "rrelu", "elu", "selu", "celu", "silu", "mish",
    "hardsigmoid", "hardswish",
})  # fmt: skip
"""Activations that torch computes in place where it is asked to."""

IN_BLOCKS = Style(conv_name="{name}", norm_name="{name}_norm", act_name="{name}_{act}")
"""How the blocks of ``costmodel.formulas`` name their layers."""


class Block:
    """A block by itself: take ``x`` through its layers, then ask for the cost, at inference and of a backward pass."""

    def __init__(self, channels: Count, size: Sequence[Count], *, batch: Count = 1, norm: bool = True) -> None:
        self._rows: list[Row] = []
        walk = Walk(record=self._rows.append, batch=batch, style=replace(IN_BLOCKS, norm=norm), is_differentiated=True)
        self.x = walk.image(channels, *size)

    @property
    def cost(self) -> BlockCost:
        """The layers so far; views, which move nothing, are not listed."""
        layers = tuple((row.name, row.cost) for row in self._rows if row.kind != "view")
        return BlockCost(layers=layers, wiring=tuple(row.wired for row in self._rows if row.wired))


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
