"""``Measure``: what an entry of the table of measures is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from costmodel.arguments import short
from costmodel.errors import CostModelError, InputError
from costmodel.records import dataclass
from costmodel.scalars import LARGEST, scalar

if TYPE_CHECKING:
    from costmodel.graph import TensorSpec
    from costmodel.pricing import TracedLayer

Number: TypeAlias = int | float

PLACES = ("layers", "summary", "totals", "ratios", "changes")
"""Where a measure may be shown by default:

- ``layers``: printed tables of layers, and of kinds of layer
- ``summary``: the head of a text and of a page, the page's switch of quantities, its table of layers
- ``totals``: tables of a model's totals, of several models' and of those before and after a change
- ``ratios``: ratios to a baseline, printed and drawn
- ``changes``: the layers that changed between two profiles

DataFrames, JSON and CSV always have every measure.
"""

EVERYWHERE = frozenset(PLACES)
DATA_ONLY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Measure:
    """One quantity: its name, title and unit, and how to compute it for a layer."""

    name: str
    """The name of its column, in Python and on the command line."""
    title: str
    """What it is called in print, written as within a sentence: ``memory access``."""
    unit: str
    """The unit of its figures: ``elements``, ``bytes``, ``pJ``."""
    means: str
    """What it counts, in one line."""
    additive: bool
    """Whether a model's total is the sum over its layers. If not, there is a total only if ``of_model`` is given."""
    of_layer: Callable[[TracedLayer], Number] | None
    """Computes it for one layer, as an int or a finite float; ``None`` if only a whole model has it."""
    symbol: str = ""
    """The unit's symbol, if it takes an SI prefix: with ``B``, 1,234 bytes are printed as ``1.23 kB``."""
    short: str = ""
    """A shorter title, for heads of narrow columns."""
    of_model: Callable[[Any], Number] | None = None
    """Computes a model's total, if that is not the sum over layers, or cheaper to get: of its ``Profile``, and for one
    of ``STEP_MEASURES`` of its ``TrainingStep``."""
    of_parameter: Callable[[TensorSpec, bool], Number] | None = None
    """For a quantity of parameters: computes it for one, given whether any op of the run reads that. Totals and modules
    then sum over distinct parameters, including those of modules that did not run."""
    needs_rules: bool = True
    """Whether an op without a rule makes the total a lower bound."""
    leading: bool = False
    """Whether its column precedes ``receptive_field`` and ``is_exact``, as in version 0.1; others come last."""
    places: frozenset[str] = EVERYWHERE
    """Where it is shown by default: some of ``PLACES``."""
    priority: int = 5
    """In a terminal too narrow for all columns, those with the highest priority stay."""

    def figures(self, layers: Iterable[TracedLayer]) -> list[Number]:
        """The figure of each layer. An error names the measure and the layer."""
        assert self.of_layer is not None
        read = self.of_layer
        found = []
        for layer in layers:
            try:
                figure = read(layer)
            except Exception as error:
                raise self._failed(error, layer.name, layer.type) from error
            # Nearly always an int that is not too large, and known much faster.
            is_plain = type(figure) is int and -LARGEST <= figure <= LARGEST
            found.append(figure if is_plain else self._number(figure, layer.name, layer.type))
        return found

    def total(self, p: Any) -> Number | None:
        """The total of a profile, or of a training step.

        ``None`` if the measure does not add up and has no ``of_model``.
        """
        if self.of_model is not None:
            try:
                figure = self.of_model(p)
            except Exception as error:
                raise self._failed(error, p.name, "the model") from error
            return self._number(figure, p.name, "the model")
        if self.of_parameter is not None:
            count, read = self.of_parameter, p.pricing.read
            return add(count(parameter, parameter.storage in read) for parameter in p.graph.parameters().values())
        return add(p.figures(self.name)) if self.additive else None

    def _number(self, figure: Any, name: str, what: str) -> Number:
        try:
            if (number := scalar(figure)) is not None:
                return number
            wanted = "a finite number"
        except ValueError as error:
            wanted = str(error)
        raise CostModelError(f"{self._where(name, what)}: it returned {short(figure)}, not {wanted}")

    def _failed(self, error: Exception, name: str, what: str) -> CostModelError:
        return CostModelError(f"{self._where(name, what)}: {type(error).__name__}: {error}")

    def _where(self, name: str, what: str) -> str:
        return f"the measure {self.name!r} failed on {name!r} ({what})"


def add(figures: Iterable[Number]) -> Number:
    """The sum: exact for ints, correctly rounded, and so the same in any order, where there are floats.

    >>> add([2**70, 1]), add([0.1] * 10)
    (1180591620717411303425, 1.0)
    """
    try:
        listed = list(figures)
        total = sum(listed)
        return total if type(total) is int else math.fsum(listed)
    except TypeError as error:
        raise InputError(f"figures are some ints or floats, such as a list of them, not {short(figures)}") from error
