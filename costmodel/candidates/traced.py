"""Candidates that are built and traced one by one: of a spec string, or of a callable that makes a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from string import Formatter
from typing import Any

from costmodel.arguments import reason, short
from costmodel.candidates.grid import Columns, candidate
from costmodel.candidates.rows import Rows
from costmodel.errors import CostModelError, InputError
from costmodel.measures import MEASURES, registered_measures
from costmodel.version import __version__

SENT = 16
"""Candidates that go to another process at once: enough that sending them takes no time, few enough to share work."""


class Traced:
    """A spec string or a callable, with the inputs of each model."""

    others: tuple[str, ...] = ("is_exact", "input")

    def __init__(self, what: str | Callable[..., Any], names: tuple[str, ...], inputs: Any) -> None:
        self.what = what
        self.inputs = inputs
        self.sizes = _sizes(inputs)
        self.arguments = _of_spec(what, names, self.sizes) if isinstance(what, str) else _of(what, names, self.sizes)
        for name in self.sizes:
            if name not in names:
                raise InputError(f"the size {name!r} of inputs is not in the grid, which has {', '.join(names)}")
        self.measures = tuple(
            name for name, m in MEASURES.items() if m.additive or m.of_model is not None or m.of_parameter is not None
        )
        self._registered = registered_measures()

    def block(self, is_sent: bool) -> int:
        """One by one, but where they are sent."""
        return SENT if is_sent else 1

    def describe(self) -> dict[str, Any]:
        """The model, the inputs, the measures, and the versions of what they depend on."""
        return {
            "model": self.what if isinstance(self.what, str) else _identity(self.what),
            "inputs": _digest(repr(self.inputs)),
            "measures": list(self.measures),
            "costmodel": __version__,
            **{library: _version(library) for library in ("torch", *_libraries(self.what))},
        }

    def price(self, columns: Columns) -> Rows:
        """Builds and traces each; what one of them raises is its failure."""
        for measure in self._registered:  # in another process they are not
            MEASURES[measure.name] = measure
        places: list[int] = []
        figures: dict[str, list[Any]] = {name: [] for name in (*self.measures, *self.others)}
        failures: dict[int, str] = {}
        for place in range(len(next(iter(columns.values())))):
            try:
                row = self._row(candidate(columns, place))
            except CostModelError as error:
                failures[place] = str(error)
            except (Exception, SystemExit) as error:  # of the model's own code
                failures[place] = reason(error)
            else:
                places.append(place)
                for name, value in row.items():
                    figures[name].append(value)
        return Rows(places, figures, failures)

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        from costmodel.profiling import profile
        from costmodel.views.cells import inputs

        given = {name: row[name] for name in self.arguments if name in row}
        if isinstance(self.what, str) and len(given) < len(self.arguments):
            raise InputError(f"the candidate lacks {', '.join(name for name in self.arguments if name not in row)}")
        model = self.what.format(**given) if isinstance(self.what, str) else self.what(**given)
        p = profile(model, self._inputs(row))
        totals = {name: MEASURES[name].total(p) for name in self.measures}
        return {**totals, "is_exact": p.is_exact, "input": inputs(p)}

    def _inputs(self, row: Mapping[str, Any]) -> Any:
        if not self.sizes:
            return self.inputs
        from costmodel.polynomial.sizes import with_sizes

        for name in self.sizes:
            size = row.get(name)
            if isinstance(size, bool) or not isinstance(size, int) or size < 0:
                raise InputError(f"{name}={short(size)} is no size: give an int")
        return with_sizes(self.inputs, row)


def _sizes(inputs: Any) -> tuple[str, ...]:
    """The names in place of sizes; none where there are no inputs, or numbers alone."""
    if inputs is None:
        return ()
    from costmodel.polynomial.sizes import names_in

    try:
        return names_in(inputs)
    except InputError:
        return ()


def _of_spec(spec: str, names: tuple[str, ...], sizes: tuple[str, ...]) -> tuple[str, ...]:
    """The names in a spec's braces."""
    try:
        fields = [field for _, field, _, _ in Formatter().parse(spec) if field is not None]
    except ValueError as error:
        raise InputError(f"{spec!r} cannot be read: {error}; write a brace that is none of a name's twice") from error
    for field in fields:
        if field not in names:
            raise InputError(f"{{{field}}} in {spec!r} is not in the grid, which has {', '.join(names)}")
    for name in names:
        if name not in fields and name not in sizes:
            raise InputError(
                f"the grid's {name} is nowhere in {spec!r}: write {{{name}}} where it belongs, or {name!r} in place of "
                "a size of inputs"
            )
    return tuple(dict.fromkeys(fields))


def _of(make: Callable[..., Any], names: tuple[str, ...], sizes: tuple[str, ...]) -> tuple[str, ...]:
    """The names that a callable takes; those of sizes need not be among them."""
    if not callable(make):
        raise InputError(
            "what is swept is the name of a network, a spec with the grid's names such as 'timm:{arch}', or a callable "
            f"that makes a model, not {short(make)}"
        )
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):  # some builtins have none
        return tuple(name for name in names if name not in sizes)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    taken = {name for name, parameter in parameters.items() if parameter.kind in _BY_NAME}
    for name in names:
        if name not in taken and name not in sizes and not takes_any:
            raise InputError(f"{_named(make)} takes no {name}; it is called as {_named(make)}{inspect.signature(make)}")
    return tuple(name for name in names if name in taken or (takes_any and name not in sizes))


_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _named(make: Callable[..., Any]) -> str:
    return getattr(make, "__qualname__", None) or type(make).__name__


def _identity(make: Callable[..., Any]) -> str:
    """A callable by its name and its source, where that can be read: edited, it is another one."""
    try:
        source = _digest(inspect.getsource(make))
    except (OSError, TypeError):
        source = ""
    return f"{getattr(make, '__module__', '')}.{_named(make)} {source}".rstrip()


def _digest(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}... {sha256(text.encode()).hexdigest()[:16]}"


def _libraries(what: Any) -> tuple[str, ...]:
    scheme = what.partition(":")[0] if isinstance(what, str) else ""
    return {"timm": ("timm",), "torchvision": ("torchvision",), "hf": ("transformers",)}.get(scheme, ())


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
