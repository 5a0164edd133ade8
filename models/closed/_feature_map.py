"""A feature map on its way through a network by arithmetic alone: its shape, what it sees, and what made it.

A network's closed form is written as a walk: `x.conv("conv1", 64, 3)` is the map after the layer of that name, which
the ledger has noted with its cost by `costmodel.formulas`. No module is built and nothing is traced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from costmodel import formulas
from costmodel.formulas import Field, LayerCost
from costmodel.quantities import Count, prod

Note = Callable[["Row"], None]
"""Takes the rows as they come: a list's `append`, or a sum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One layer, under the name that it has in the trace of the built network: a module's, or module/operation.

    Every count is an int, or an array or an expression where a multiplier was one.
    """

    name: str
    cost: LayerCost
    fields: tuple[Field, ...]
    """What an output position sees of the input, per spatial axis; stride None where there is one position alone."""
    runs: bool = True
    """False for a layer that is there and does not run: its parameters count, its work does not."""
    fitted: bool = False
    """Whether its windows were made to give a map of a certain size, and so move by no law of their own."""

    @property
    def kind(self) -> str:
        """The field's word: standard conv, depthwise conv, norm ..."""
        return self.cost.kind

    @property
    def output_shape(self) -> tuple[Count, ...]:
        """The shape that the layer returns."""
        return self.cost.output_shape

    @property
    def params(self) -> Count:
        """Elements of its parameters."""
        return self.cost.params

    @property
    def buffers(self) -> Count:
        """Elements of its running statistics."""
        return self.cost.buffers

    @property
    def macs(self) -> Count:
        """Multiply-accumulates."""
        return self.cost.macs if self.runs else 0

    @property
    def flops(self) -> Count:
        """Arithmetic operations, a multiply-accumulate being two."""
        return self.cost.flops if self.runs else 0

    @property
    def memory_access(self) -> Count:
        """Elements read and written."""
        return self.cost.memory_access if self.runs else 0

    @property
    def activations(self) -> Count:
        """Output elements of convolutions and matrix products."""
        return self.cost.activations if self.runs else 0

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
        return spatial and not self.fitted and all(field.stride is not None for field in self.fields)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What holds for a whole walk: the batch, whether it is training's, and who takes the rows."""

    batch: Count
    training: bool
    note: Note

    def image(self, channels: Count, *size: Count) -> FeatureMap:
        """The network's input."""
        here = Field(size=1, stride=1, start=0)
        return FeatureMap(self, (self.batch, channels, *size), size, (here,) * len(size))

    def auxiliary(self, head: Callable[[FeatureMap], object], x: FeatureMap, *, size: int) -> None:
        """A head that runs on `x` in training alone; otherwise its parameters are those on size x size."""
        if self.training:
            head(x)
        else:
            idle = replace(self, note=lambda row: self.note(replace(row, runs=False)))
            head(idle.image(x.channels, size, size))


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A map of `shape` (batch, channels, *size), or (batch, features), of an input of `input_size`."""

    ledger: Ledger
    shape: tuple[Count, ...]
    input_size: tuple[Count, ...]
    fields: tuple[Field, ...]
    where: Count = True
    """In which configurations of a sweep the next layers are there; those that are in none are passed over."""

    @property
    def channels(self) -> Count:
        """Its channels, or features."""
        return self.shape[1]

    @property
    def size(self) -> tuple[Count, ...]:
        """Its spatial size."""
        return self.shape[2:]

    # -- where --------------------------------------------------------------------------------------------------------

    def only(self, where: Count) -> FeatureMap:
        """The same map; the layers after it are there only where the condition holds, until `always`."""
        if hasattr(where, "all") and (where.all() or not where.any()):
            where = bool(where.all())
        return replace(self, where=where)

    def always(self) -> FeatureMap:
        """The same map; the layers after it are there in every configuration."""
        return replace(self, where=True)

    # -- convolutions and products ------------------------------------------------------------------------------------

    def conv(
        self,
        name: str,
        c_out: Count,
        kernel: int | tuple[int, ...] = 1,
        *,
        stride: int = 1,
        padding: int | tuple[int, ...] | None = None,
        groups: Count = 1,
        bias: bool = False,
    ) -> FeatureMap:
        """A convolution, padded by half its kernel unless told otherwise."""
        if padding is None:
            padding = kernel // 2 if isinstance(kernel, int) else tuple(k // 2 for k in kernel)
        cost = formulas.conv(
            c_in=self.channels,
            c_out=c_out,
            kernel=kernel,
            size=self.size,
            stride=stride,
            padding=padding,
            groups=groups,
            bias=bias,
            batch=self.ledger.batch,
        )
        return self._after(name, cost, self._seen_by_windows(kernel, stride, padding))

    def conv_norm(
        self,
        name: str,
        c_out: Count,
        kernel: int | tuple[int, ...] = 1,
        *,
        act: str | None = None,
        act_name: str = "act",
        stride: int = 1,
        padding: int | tuple[int, ...] | None = None,
        groups: Count = 1,
        bias: bool = False,
    ) -> FeatureMap:
        """A convolution, its batch norm, and its activation where there is one."""
        y = self.conv(f"{name}.conv", c_out, kernel, stride=stride, padding=padding, groups=groups, bias=bias)
        y = y.norm(f"{name}.norm")
        return y.act(f"{name}.{act_name}", act) if act else y

    def linear(self, name: str, features: Count) -> FeatureMap:
        """A fully connected layer with bias, on a flattened map of which every output sees every position."""
        cost = formulas.linear(in_features=self.channels, out_features=features, rows=(self.ledger.batch,))
        seen = self.fields if all(field.stride is None for field in self.fields) else self._everything()
        return self._after(name, cost, seen)

    # -- one element after another ------------------------------------------------------------------------------------

    def norm(self, name: str) -> FeatureMap:
        """A batch norm."""
        return self._after(
            name,
            formulas.batch_norm(
                channels=self.channels, size=self.size, batch=self.ledger.batch, training=self.ledger.training
            ),
        )

    def local_response_norm(self, name: str, local_size: int) -> FeatureMap:
        """AlexNet's normalisation, over neighbouring channels."""
        return self._after(
            name,
            formulas.local_response_norm(
                channels=self.channels, size=self.size, local_size=local_size, batch=self.ledger.batch
            ),
        )

    def act(self, name: str, act: str) -> FeatureMap:
        """An activation by its name in `costmodel.formulas.ACTIVATIONS`."""
        return self._after(name, formulas.activation(name=act, shape=self.shape))

    def dropout(self, name: str, *, inplace: bool = False) -> FeatureMap:
        """Dropout, which does nothing but in training."""
        return self._after(name, formulas.dropout(shape=self.shape, training=self.ledger.training, inplace=inplace))

    # -- pooling ------------------------------------------------------------------------------------------------------

    def max_pool(self, name: str, kernel: int, stride: int, *, padding: int = 0, ceil_mode: bool = False) -> FeatureMap:
        """The maximum of each window."""
        cost = formulas.max_pool(
            channels=self.channels,
            size=self.size,
            kernel=kernel,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            batch=self.ledger.batch,
        )
        return self._after(name, cost, self._seen_by_windows(kernel, stride, padding))

    def avg_pool(self, name: str, kernel: int, stride: int, *, padding: int = 0) -> FeatureMap:
        """The mean of each window."""
        cost = formulas.avg_pool(
            channels=self.channels,
            size=self.size,
            kernel=kernel,
            stride=stride,
            padding=padding,
            batch=self.ledger.batch,
        )
        return self._after(name, cost, self._seen_by_windows(kernel, stride, padding))

    def adaptive_avg_pool(self, name: str, output_size: int = 1) -> FeatureMap:
        """The means of as many windows as are asked for; one window is the whole map."""
        cost = formulas.adaptive_avg_pool(
            channels=self.channels, size=self.size, output_size=output_size, batch=self.ledger.batch
        )
        if output_size == 1:
            return self._after(name, cost, self._everything())
        fields = [_seen_by_adaptive(f, n, output_size) for f, n in zip(self.fields, self.size, strict=True)]
        return self._after(name, cost, tuple(fields), fitted=True)

    # -- the same elements in another shape ---------------------------------------------------------------------------

    def part(self, name: str, channels: Count) -> FeatureMap:
        """Some of the channels: a view, which moves nothing."""
        return self._after(name, formulas.view(shape=(self.ledger.batch, channels, *self.size)))

    def flatten(self, name: str, axes: int | None = None) -> FeatureMap:
        """(batch, channels, *size) as (batch, features), or with the first spatial axes alone joined to the channels.

        A joined axis with one position has no step from it to a next one.
        """
        joined, kept = (self.size, ()) if axes is None else (self.size[:axes], self.size[axes:])
        first = len(self.fields) - len(self.size)
        alone = {first + i for i, n in enumerate(joined) if isinstance(n, int) and n == 1}
        seen = tuple(replace(f, stride=None) if i in alone else f for i, f in enumerate(self.fields))
        return self._after(name, formulas.view(shape=(self.ledger.batch, self.channels * prod(joined), *kept)), seen)

    def shuffle(self, name: str, groups: int) -> FeatureMap:
        """Channels dealt out over the groups."""
        cost = formulas.channel_shuffle(channels=self.channels, size=self.size, groups=groups, batch=self.ledger.batch)
        # A module of the networks' own, and what runs in it is a copy: the trace calls it neither view nor resample.
        return self._after(name, replace(cost, kind="other"))

    # -- where paths meet ---------------------------------------------------------------------------------------------

    def add(self, name: str, other: FeatureMap) -> FeatureMap:
        """The sum with a map of the same shape."""
        return self._after(name, formulas.add(shape=self.shape), _hull(self, other))

    def gate(self, name: str, gate: FeatureMap) -> FeatureMap:
        """The product with one value a channel, which sees everything; what is seen locally stays."""
        return self._after(name, formulas.multiply(shape=self.shape, other=gate.shape))

    def concat(self, name: str, *others: FeatureMap) -> FeatureMap:
        """This map and others, joined along channels."""
        maps = (self, *others)
        cost = formulas.concat(channels=[x.channels for x in maps], size=self.size, batch=self.ledger.batch)
        return self._after(name, cost, _hull(*maps))

    # -- how ----------------------------------------------------------------------------------------------------------

    def _after(
        self, name: str, cost: LayerCost, fields: tuple[Field, ...] | None = None, *, fitted: bool = False
    ) -> FeatureMap:
        """The map that a layer of this cost makes of this one."""
        if self.where is False:
            return self
        _require_positions(name, cost)
        seen = self.fields if fields is None else fields
        here = cost if self.where is True else _times(cost, self.where)
        self.ledger.note(Row(name=name, cost=here, fields=seen, fitted=fitted))
        return replace(self, shape=cost.output_shape, fields=seen)

    def _seen_by_windows(
        self, kernel: int | tuple[int, ...], stride: int, padding: int | tuple[int, ...]
    ) -> tuple[Field, ...]:
        """A field is itself a window on the input, so the recurrence composes it with the layer's."""
        axes = range(len(self.size))
        fields = [self.fields[-len(self.size) :][axis] for axis in axes]
        seen = [
            formulas.receptive_field(
                layers=[(field.size, field.stride, field.padding), (_of(kernel, axis), stride, _of(padding, axis))]
            )
            if field.stride is not None
            else field
            for axis, field in zip(axes, fields, strict=True)
        ]
        return (*self._everything()[: -len(self.size)], *seen)

    def _everything(self) -> tuple[Field, ...]:
        return tuple(Field(size=n, stride=None, start=0) for n in self.input_size)


def _of(value: int | tuple[int, ...], axis: int) -> int:
    return value if isinstance(value, int) else value[axis]


def _hull(*maps: FeatureMap) -> tuple[Field, ...]:
    """From the first to the last position that any of the maps sees; they lie on one grid."""
    hulls = []
    for fields in zip(*(x.fields for x in maps), strict=True):
        start = min(field.start for field in fields)
        end = max(field.start + field.size for field in fields)
        hulls.append(replace(fields[0], start=start, size=end - start))
    return tuple(hulls)


def _seen_by_adaptive(field: Field, size: Count, output_size: int) -> Field:
    """Window i goes from floor(i size / out) to ceil((i + 1) size / out); the longest counts, and the mean step."""
    longest: Count = 0
    for i in range(output_size):
        length = -(-(i + 1) * size // output_size) - i * size // output_size
        more = length - longest
        longest = longest + (more + abs(more)) // 2
    step = field.stride * size
    ratio: Count = Fraction(step, output_size) if isinstance(step, int) else step / output_size
    if isinstance(ratio, Fraction) and ratio.denominator == 1:
        ratio = ratio.numerator
    return Field(size=field.size + (longest - 1) * field.stride, stride=ratio, start=field.start)


def _times(cost: LayerCost, where: Count) -> LayerCost:
    """The cost where the layer is there, and 0 where it is not."""
    return replace(
        cost,
        read=cost.read * where,
        written=cost.written * where,
        work=cost.work.times(where),
        params=cost.params * where,
        buffers=cost.buffers * where,
        activations=cost.activations * where,
    )


def _require_positions(name: str, cost: LayerCost) -> None:
    """No configuration of a sweep leaves a map without positions; formulas see to single ones."""
    for n in cost.output_size:
        if hasattr(n, "min") and n.min() < 1:
            raise ValueError(f"{name} has no output position in some configurations of this sweep: enlarge resolution")
