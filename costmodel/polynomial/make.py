"""``scaling``: costs as formulas of the input's sizes, from exact traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
        NotPolynomialError: a cost is no polynomial of a size, as of a detector; the message has sizes that show it.

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
        raise InputError(f"no sizes were found that the model takes: give some with start={{...}}. {error}") from error


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
    if training:
        # A step's cost is mostly a polynomial where its forward's is, which takes a tenth of the time to search.
        try:
            return _around(Search(names, guesses, Tracer(forward, execution), of_model), begin, model, training=True)
        except NotPolynomialError:
            pass
    return _around(Search(names, guesses, of_model, of_model), begin, model, training=training)


def _around(search: Search, begin: Sequence[int | None], model: Any, *, training: bool) -> Scaling:
    """The polynomials around a first point, and where they are others for a batch of one."""
    base = first_point(search.searched, search.guesses, begin)
    regions = [search.around(base)]
    for i, guess in enumerate(search.guesses):
        # What is spread over a batch is no copy where that is one sample, so there a cost can be another polynomial.
        if guess == "batch" and regions[0].axes[i].least == 2:
            one = search.where(i, 1, base, regions[0])
            regions += [one] if one is not None else []
    return Scaling(tuple(regions), _name(model), training=training, trace=search.tracer.anew)


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

    def around(self, base: Point, one: int = -1) -> Region:
        """The region around a point, in which one size may be fixed. Raises ``NotPolynomialError`` if there is none."""
        for thorough in (False, True):
            try:
                return self._region(*self._axes(base, one, thorough=thorough))
            except NotPolynomialError:
                if thorough:
                    raise
        raise AssertionError("a thorough search returns or raises")

    def where(self, i: int, size: int, base: Point, general: Region) -> Region | None:
        """The region in which one size is fixed; ``None`` where the model cannot be traced, or is no polynomial."""
        axes = [fixed(axis.name, size) if j == i else axis for j, axis in enumerate(general.axes)]
        try:
            return self._region(axes, by_op=general.by_op)
        except CostModelError:
            pass
        try:
            return self.around((*base[:i], size, *base[i + 1 :]), one=i)
        except CostModelError:
            return None

    def _axes(self, base: Point, one: int, *, thorough: bool) -> tuple[list[Axis], bool]:
        """The lattice and degree of each size, and whether the same ops run at all sizes."""
        found = [
            (fixed(name, base[i]), True) if i == one else find_axis(self.searched, base, i, name, thorough=thorough)
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
            by_op=by_op,
        )


def _hold(found: Polynomials, points: Iterable[Point]) -> None:
    """Raises ``NotPolynomialError`` for a point at which a trace has something else."""
    for point in points:
        if found.hold_at(point) is False:
            raise NotPolynomialError(found.disagreement(point))


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
