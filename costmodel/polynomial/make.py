"""``scaling``: costs as formulas of the input's sizes, from exact traces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.errors import CostModelError, ForwardError, InputError, NeedsValuesError, NotPolynomialError
from costmodel.loading import apply
from costmodel.polynomial.grid import Layers, Polynomials
from costmodel.polynomial.reach import consecutive, reach
from costmodel.polynomial.result import Region, Scaling
from costmodel.polynomial.samples import OfProfile, OfStep, Point, Sample, Tracer
from costmodel.polynomial.search import Axis, find_axis, first_point, fixed
from costmodel.polynomial.sizes import guesses_of, names_in, with_sizes
from costmodel.profiling import profile
from costmodel.training import training_step

if TYPE_CHECKING:
    from torch import nn

    from costmodel.trace import Execution

_BETWEEN = 4
"""Points inside the ranges that are traced to verify the result, beside those that the search has traced."""


def scaling(
    model: nn.Module | Callable[..., Any] | str,
    inputs: Any,
    *,
    training: bool = False,
    start: Mapping[str, int] | None = None,
    **options: Any,
) -> Scaling:
    """Costs as exact polynomials of named sizes: of a batch, a resolution, a length.

    On the multiples of a size's lattice a cost is a polynomial. As many traces as it has coefficients determine it, and
    further traces, at both ends of the range and between, verify it.

    Args:
        model: as for ``costmodel.profile``.
        inputs: as for ``costmodel.profile``, with a name in the place of each size that varies: ``("B", 3, "H", "H")``
            or ``costmodel.Input(("B", "S"), "int64")``.
        training: whether a training step is scaled, as of ``costmodel.training_step``, instead of one forward pass.
        start: a size for each name at which to begin; of a name that is left out, one is found.
        **options: further arguments of ``costmodel.profile`` or ``costmodel.training_step``.

    Raises:
        InputError: no size has a name, or none was found that the model takes.
        NotPolynomialError: MACs, memory access or the peak are no polynomial of a size, as of a detector; the message
            has sizes that show it. Of another total ``Scaling.refused`` has them.

    >>> from torch import nn
    >>> s = scaling(nn.Conv2d(3, 8, 3, padding=1), ("B", 3, "H", "H"))
    >>> s.macs, s.lattice, s.at(B=2, H=100)["macs"]
    (216*B*H**2, {'B': 1, 'H': 1}, 4320000)
    """
    names = names_in(inputs)
    guesses = [guesses_of(inputs)[name] for name in names]
    begin = _start(names, {} if start is None else start)

    def scaled(module: nn.Module | Callable[..., Any]) -> Scaling:
        return _scaled(module, inputs, names, guesses, begin, options, training=training)

    try:
        if not isinstance(model, str):
            return scaled(model)
        # Built once, for all traces.
        return replace(apply(scaled, model, weights=options.get("execution") == "real"), name=model)
    except (ForwardError, NeedsValuesError) as error:
        raise InputError(
            f"no sizes were found that the model takes: give sizes to begin at (start). {error}"
        ) from error


def _scaled(
    model: nn.Module | Callable[..., Any], inputs: Any, names: Sequence[str], guesses: Sequence[str],
    begin: Sequence[int | None], options: Mapping[str, Any], *, training: bool,
) -> Scaling:  # fmt: skip
    def given(point: Point) -> Any:
        return with_sizes(inputs, dict(zip(names, point, strict=True)))

    of_forward = _of_forward(options) if training else options

    def forward(point: Point, execution: Execution) -> Sample:
        return OfProfile(profile(model, given(point), **{**of_forward, "execution": execution}))

    def step(point: Point, execution: Execution) -> Sample:
        return OfStep(training_step(model, given(point), **{**options, "execution": execution}))

    execution = options.get("execution", "auto")
    of_model = Tracer(step if training else forward, execution)
    refused: dict[str, str] = {}
    search = Search(names, guesses, of_model, of_model)
    if training:
        # A step's cost is mostly a polynomial where its forward's is, which takes a tenth of the time to search.
        try:
            regions = _regions(replace(search, searched=Tracer(forward, execution)), begin, refused)
        except NotPolynomialError:
            regions = _regions(search, begin, refused)
    else:
        regions = _regions(search, begin, refused)
    return Scaling(regions, _name(model), training=training, refused=refused, trace=of_model.by_any_means)


_NEEDED = {"macs", "memory_access", "peak_memory"}
"""Totals without which a result is none."""


def _regions(search: Search, begin: Sequence[int | None], refused: dict[str, str]) -> tuple[Region, ...]:
    """The polynomials of all totals but those that are none: as FLOPs, where a mixture of experts sorts its tokens.

    Raises ``NotPolynomialError`` where MACs, memory access or the peak are none.
    """
    while True:
        try:
            return search.regions(begin)
        except NotPolynomialError as error:
            if not error.quantities or _NEEDED & set(error.quantities):
                raise
            refused.update(dict.fromkeys(error.quantities, str(error)))
            search.searched.leave_out(refused)
            search.tracer.leave_out(refused)


def _of_forward(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a training step that its forward has too."""
    return {"mode": "train", **{name: value for name, value in options.items() if name in ("dtype", "execution")}}


def _start(names: Sequence[str], start: Mapping[str, int]) -> list[int | None]:
    if not isinstance(start, Mapping):
        raise InputError(f"start={short(start)}: give a size for each name, as {{'B': 2}}")
    for name, size in start.items():
        if name not in names:
            raise InputError(f"start has a size for {name!r}; the inputs name {', '.join(names)}")
        if type(size) is not int or size < 1:
            raise InputError(f"start: {name}={short(size)} is no size: give an int from 1")
    return [start.get(name) for name in names]


@dataclass(frozen=True)
class Search:
    """Finds the polynomials of one model."""

    names: Sequence[str]
    guesses: Sequence[str]
    searched: Tracer
    """What is traced to find lattices."""
    tracer: Tracer
    """What is traced to determine and verify polynomials."""

    def regions(self, begin: Sequence[int | None]) -> tuple[Region, ...]:
        """The general polynomials, then those where sizes have one value, and first where most of them have."""
        base = first_point(self.searched, self.guesses, begin)
        batches = {i for i, guess in enumerate(self.guesses) if guess == "batch"}
        general = self.around(base)
        special = [self.around(base, {*range(len(base))} - batches)] if self._is_special(base, general) else []
        # What is spread over a batch is no copy where that is one sample, so there a cost can be another polynomial.
        single = [self.where(i, base, of) for of in (*special, general) for i in batches if of.axes[i].least == 2]
        found = [region for region in (*special, *single) if region is not None]
        return general, *sorted(found, key=lambda region: sum(axis.is_fixed for axis in region.axes), reverse=True)

    def _is_special(self, base: Point, general: Region) -> bool:
        """Whether the cost at a point is another than at its neighbours, as where positions are not interpolated.

        All sizes but the batch are then special together. Raises ``NotPolynomialError`` where one alone is.
        """
        axes = general.axes
        is_among = all(
            size % axis.lattice == 0 and axis.least <= size + axis.lattice <= axis.greatest
            for axis, size in zip(axes, base, strict=True)
        )
        if not is_among or self._agrees(general, base):
            return False
        others = [i for i, guess in enumerate(self.guesses) if guess != "batch"]
        for i in others if len(others) > 1 else ():
            if base[i] < axes[i].least:
                continue
            point = tuple(size if j == i else axis.first for j, (axis, size) in enumerate(zip(axes, base, strict=True)))
            if not self._agrees(general, point):
                raise NotPolynomialError(f"{axes[i].name}={base[i]} is special: start elsewhere, with start={{...}}")
        return bool(others)

    def _agrees(self, region: Region, point: Point) -> bool:
        """Whether a trace has what the polynomials have."""
        sample = self.tracer.at(point)
        derived = region.at(dict(zip(self.names, point, strict=True)))
        return derived == {**sample.totals, "peak_memory": max(sample.moments)}

    def around(self, base: Point, one: Collection[int] = ()) -> Region:
        """The region around a point, in which some sizes may have one value.

        Raises ``NotPolynomialError`` if there is none.
        """
        for thorough in (False, True):
            try:
                return self._region(*self._axes(base, one, thorough=thorough))
            except NotPolynomialError:
                if thorough:
                    raise
        raise AssertionError("a thorough search returns or raises")

    def where(self, i: int, base: Point, general: Region) -> Region | None:
        """The region in which one size is 1; ``None`` where the model cannot be traced, or is no polynomial."""
        axes = [fixed(axis.name, 1) if j == i else axis for j, axis in enumerate(general.axes)]
        try:
            return self._region(axes, by_op=general.by_op)
        except CostModelError:
            pass
        try:
            one = {i, *(j for j, axis in enumerate(general.axes) if axis.is_fixed)}
            return self.around((*base[:i], 1, *base[i + 1 :]), one)
        except CostModelError:
            return None

    def _axes(self, base: Point, one: Collection[int], *, thorough: bool) -> tuple[list[Axis], bool]:
        """The lattice and degree of each size, and whether the same ops run at all sizes."""
        found = [
            (fixed(name, base[i]), True) if i in one else find_axis(self.searched, base, i, name, thorough=thorough)
            for i, name in enumerate(self.names)
        ]
        return [axis for axis, _ in found], all(by_op for _, by_op in found)

    def _region(self, axes: Sequence[Axis], by_op: bool) -> Region:
        """The polynomials through a grid of traces, verified at others."""
        searched = Polynomials(self.searched, axes, by_op=by_op)
        _hold(searched, consecutive(axes, is_real=searched.is_real))
        found = searched if self.tracer is self.searched else Polynomials(self.tracer, axes, by_op=by_op)
        reached = reach(found, self.guesses)
        # Each size alone is within its range; these may be too much together.
        _hold(found, _verifying(reached))
        numbers, totals = found.from_least(reached), found.samples[0].totals
        return Region(
            axes=tuple(reached),
            totals=dict(zip(totals, numbers, strict=False)),
            moments=tuple(numbers[len(totals) :]),
            verified=tuple(dict(zip(self.names, point, strict=True)) for point in found.verified(reached)),
            layers=Layers(found, reached),
            by_op=found.by_op,
            execution=found.samples[0].execution,
            lower_bounds=tuple(dict.fromkeys(why for sample in found.samples for why in sample.lower_bounds)),
        )


def _hold(found: Polynomials, points: Iterable[Point]) -> None:
    """Raises ``NotPolynomialError`` for a point at which a trace has something else."""
    for point in points:
        if found.hold_at(point) is False:
            raise found.disagreement(point)


def _verifying(axes: Sequence[Axis]) -> list[Point]:
    """The least and the greatest sizes together, and points between, the same at every call."""
    random = Random(0)
    between = [tuple(_between(axis, random) for axis in axes) for _ in range(_BETWEEN)]
    ends = [tuple(axis.greatest for axis in axes), tuple(axis.least for axis in axes)]
    return list(dict.fromkeys((*ends, *between)))


def _between(axis: Axis, random: Random) -> int:
    """A size within the range, small ones as likely as large ones."""
    steps = (axis.greatest - axis.least) // axis.lattice
    return axis.least + axis.lattice * min(steps, int((steps + 1) ** random.random()))


def _name(model: Any) -> str:
    return model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
