"""``ReceptiveField``, and how it is read off the paths of a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, TypeAlias

from costmodel.receptive_field.paths import Field, Path, Paths, hull, project_to_axis_dims
from costmodel.records import dataclass
from costmodel.shown import Shown

Exact: TypeAlias = int | Fraction


@dataclass(frozen=True, kw_only=True)
class ReceptiveField(Shown):
    """The input positions that one output position depends on. Each tuple has one entry per spatial axis of the input.

    An entry is ``None`` where the output does not depend on the axis, or where the quantity is not defined.
    """

    view: ClassVar[str] = "receptive field"

    layer: str
    size: tuple[int | None, ...]
    """Input positions from the first to the last, padding included; the largest over the output positions, where they
    differ. The whole axis where the layer is global by more than a gate."""
    stride: tuple[Exact | None, ...]
    """Input positions from one output position to the next: below 1 after upsampling. The largest over the branches."""
    start: tuple[int | None, ...]
    """The first input position for output position 0, or for ``position``: negative in the padding before the input."""
    padding: tuple[int | None, ...]
    """Positions before the input begins: minus ``start``."""
    centre: tuple[Exact | None, ...]
    """The middle of the interval that begins at ``start``."""
    is_global: bool
    """Whether every output position depends on the whole of an axis, if only through a gate (``gates``)."""
    gates: tuple[bool, ...]
    """Per axis, whether a value summed up over all of it is broadcast onto a local path (squeeze-excitation, the mean
    of a group norm); ``size`` is then that of the local path."""
    position: tuple[int, ...] | None = None
    """The output position asked for; ``None`` for all."""
    seen: tuple[tuple[int, int] | None, ...] | None = None
    """For ``position``, the first and the last input position that it depends on, gates apart: padding, here and in
    every layer between, is left out. ``None`` for an axis that it does not depend on."""
    notes: tuple[str, ...] = ()
    """Where branches disagree, and where the figures are upper bounds."""
    attention: str | None = None
    """The first attention that joins all positions of the input, or ``None``: for a layer behind it, the reason why its
    field is global; for the deepest local feature map, where the network begins to see the whole input."""

    @property
    def sees_all(self) -> bool:
        """Whether every position sees the whole of an axis by more than a gate."""
        return self.is_global and not all(self.gates)

    @property
    def reason(self) -> str:
        """Why the whole input is seen, by this layer or by those behind it; empty where attention is not the reason."""
        if self.attention is None:
            return ""
        where = "here" if self.sees_all else f"from {self.attention} on"
        by = f" in {self.attention}" if self.sees_all else ""
        return f"{where} the field is the whole input, as attention{by} joins all positions"


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What a tensor's field amounts to, without its tables: those of all layers together can take gigabytes."""

    axes: tuple[_Axis, ...]
    dims: frozenset[int]
    """The dimensions of the tensor along which the field moves."""
    is_feature_map: bool

    def result(
        self,
        layer: str,
        position: tuple[int, ...] | None = None,
        seen: tuple[tuple[int, int] | None, ...] | None = None,
    ) -> ReceptiveField:
        """The receptive field of the layer whose output the tensor is."""
        return ReceptiveField(
            layer=layer,
            size=tuple(a.size for a in self.axes),
            stride=tuple(a.stride for a in self.axes),
            start=tuple(a.start for a in self.axes),
            padding=tuple(None if a.start is None else -a.start for a in self.axes),
            centre=tuple(a.centre for a in self.axes),
            is_global=any(a.is_global for a in self.axes),
            gates=tuple(a.gated for a in self.axes),
            position=position,
            seen=seen,
            notes=tuple(dict.fromkeys(note for a in self.axes for note in a.notes)),
        )


def summarise(field: Field, lengths: Sequence[int], index: Mapping[int, int] | None = None) -> Summary:
    """What a nominal field amounts to.

    Args:
        field: the field of a layer's output.
        lengths: the lengths of the input's axes.
        index: one output position, by dimension of the output; ``None`` for all.
    """
    axes = tuple(_axis(paths, length, index or {}) for paths, length in zip(field, lengths, strict=True))
    dims = frozenset(d for paths in field for path in paths for d in path.axis_dims)
    return Summary(axes, dims, _is_feature_map(field))


def seen(real: Field, index: Mapping[int, int]) -> tuple[tuple[int, int] | None, ...]:
    """The first and the last position of each axis that an output position depends on, by its real field."""
    return tuple(_extent(_without_gates(paths), index) for paths in real)


@dataclass(frozen=True, slots=True)
class _Axis:
    size: int | None = None
    stride: Exact | None = None
    start: int | None = None
    centre: Exact | None = None
    is_global: bool = False
    gated: bool = False
    notes: tuple[str, ...] = ()


def _axis(paths: Paths, length: int, index: Mapping[int, int]) -> _Axis:
    if not paths:
        return _Axis()
    local = [path for path in paths if path.kind == "local"]
    mixed = any(path.kind == "mixed" for path in paths)
    gated = bool(local) and not mixed and any(path.kind == "reduced" for path in paths)
    notes = tuple(sorted({note for path in paths for note in path.notes}))
    strides = sorted({stride for path in local if (stride := _stride(path)) is not None}, key=abs)
    if len(strides) > 1:
        listed = " and ".join(map(str, strides))
        notes = (*notes, f"branches of strides {listed} join: the field is their union, the stride the largest")
    largest = _plain(strides[-1]) if strides else None
    if mixed or not local:
        return _Axis(length, largest, 0, _plain(Fraction(length - 1, 2)), is_global=True, notes=notes)
    low, high = hull(project_to_axis_dims(path) for path in local)
    size = int((high - low).max()) + 1
    extent = _extent(local, index)
    if extent is None:
        return _Axis(max(size, 0), largest, None, None, gated, gated, notes)
    first, last = extent
    if index:
        size = last - first + 1
    return _Axis(size, largest, first, _plain(Fraction(first + last, 2)), gated, gated, notes)


def _stride(path: Path) -> Fraction | None:
    """The stride along the slowest dimension: an axis cut into windows lies along two, windows and positions."""
    return max((periodicity.stride for periodicity in path.axis_dims.values()), key=abs, default=None)


def _without_gates(paths: Paths) -> list[Path]:
    """The paths that ``size`` describes: the local ones, unless the layer is global by more than a gate."""
    if any(path.kind == "mixed" for path in paths):
        return list(paths)
    return [path for path in paths if path.kind == "local"] or list(paths)


def _extent(paths: Sequence[Path], index: Mapping[int, int]) -> tuple[int, int] | None:
    """The interval of all paths together at the output position ``index``, 0 in the dimensions not given."""
    intervals = []
    for path in paths:
        at = tuple(
            0 if n == 1 else index.get(d, 0 if d in path.axis_dims else slice(None))
            for d, n in enumerate(path.low.shape)
        )
        low, high = path.low[at].min(), path.high[at].max()
        if low <= high:
            intervals.append((int(low), int(high)))
    return (min(low for low, _ in intervals), max(high for _, high in intervals)) if intervals else None


def _plain(value: Fraction) -> Exact:
    return value.numerator if value.denominator == 1 else value


def _is_feature_map(field: Field) -> bool:
    """Whether each axis lies along one dimension of its own, and every path to the input is local, gates apart.

    An axis that was flattened with another one or with channels is periodic along no dimension; one that was cut into
    windows is periodic along two.
    """
    taken: set[int] = set()
    for paths in field:
        local = [{d for d, p in path.axis_dims.items() if p.period} for path in paths if path.kind == "local"]
        if any(path.kind == "mixed" or path.adaptive for path in paths) or any(len(dims) > 1 for dims in local):
            return False
        dims = set().union(*local)
        if not dims or dims & taken:
            return False
        taken |= dims
    return bool(taken)
