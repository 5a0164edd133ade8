"""``sweep``: prices the candidates that have no row yet, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from costmodel import models
from costmodel.candidates.closed import Closed
from costmodel.candidates.engines import chosen
from costmodel.candidates.grid import Grid, read
from costmodel.candidates.memory import Memory, Store
from costmodel.candidates.result import Sweep
from costmodel.candidates.rows import Pricer
from costmodel.candidates.traced import Traced
from costmodel.errors import InputError, LoadError, require_torch
from costmodel.loading.spec import hint, how_to_name, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from distributed import Client

Progress: TypeAlias = Callable[[int, int, int], object]
"""Called after each block with how many candidates have a row, how many of them failed now, and how many there are."""


def sweep(
    what: str | Callable[..., Any],
    grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]],
    *,
    inputs: Any = None,
    engine: int | Client | None = None,
    save: str | Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """What each of many candidates costs. One that cannot be computed is among ``Sweep.failures``.

    Args:
        what: a network of ``costmodel.models``, in closed form, thousands at once; a spec string, as ``costmodel.load``
            takes it, with names of the grid in braces (``"timm:{arch}"``); or a callable that makes a model of them.
            The last two are built and traced one by one.
        grid: the candidates: a dict of lists, of which it takes all combinations, or an iterable of dicts.
        inputs: of those that are traced, as for ``profile``; names of the grid may stand in place of sizes, as in
            ``("batch", 3, "resolution", "resolution")``. ``None`` asks each model.
        engine: where: ``None`` in this process; a number of processes, which joblib starts; or a
            ``dask.distributed.Client``, whose workers have costmodel and what ``what`` needs.
        save: a folder of Parquet files (``costmodel.candidates.folder`` has the schema). Rows go there as they are
            computed; those that it has are not computed again.
        progress: called after each block with three numbers: candidates that have a row, those of them that failed in
            this run, and all.

    Raises:
        InputError: names of the grid, of ``what`` and of ``inputs`` do not go together.
        ConvertError: the folder has the rows of another sweep.
        CostModelError: an engine or a folder needs what is not installed; the message names the package.

    >>> s = sweep("mobilenet_v2", {"width": [0.5, 1.0], "resolution": [192, 224]})
    >>> s.table["macs"].tolist()
    [71701760, 97131840, 221316608, 300774272]
    """
    candidates = read(grid)
    pricer = _pricer(what, candidates.names, inputs)
    run = chosen(engine)
    for name in candidates.names:
        if name in (*pricer.measures, *pricer.others, "error"):
            raise InputError(f"{name} in the grid is the name of a column of results: call the argument another name")
    store: Store = Memory(candidates, pricer) if save is None else _folder(save, candidates, pricer)
    is_sent = engine not in (None, 1)
    size = min(pricer.block(is_sent), max(1, len(candidates) // 16)) if is_sent else pricer.block(is_sent)
    done, failed = len(store.done), 0
    try:
        for numbers, rows in run(pricer, candidates, _blocks(candidates, store.done, size)):
            store.add(numbers, rows)
            done, failed = done + len(numbers), failed + len(rows.failures)
            if progress is not None:
                progress(done, failed, len(candidates))
    finally:
        store.flush()
    name = what if isinstance(what, str) else getattr(what, "__qualname__", None) or type(what).__name__
    return Sweep(name, candidates.names, pricer.measures, store)


def _pricer(what: Any, names: tuple[str, ...], inputs: Any) -> Pricer:
    """Closed form for a network of this library of which no inputs are given; all else is traced."""
    if isinstance(what, str) and inputs is None and "{" not in what:
        spec = parse(what)
        if spec.scheme == "" and spec.name in models.list_models():
            if spec.args:
                raise InputError(f"the arguments of {what!r} are given by keyword, as in mobilenet_v1(width=0.5)")
            return Closed(spec.name, spec.kwargs or {}, names)
        if spec.scheme == "":
            known = models.list_models()
            raise LoadError(f"no model is called {spec.name!r}{hint(spec.name, known) or f'. {how_to_name()}'}")
    made = Traced(what, names, inputs)
    require_torch("a sweep of models that are traced")
    return made


def _folder(save: Any, candidates: Grid, pricer: Pricer) -> Store:
    from costmodel.candidates.folder import Folder

    return Folder(save, candidates, pricer)


def _blocks(candidates: Grid, done: np.ndarray[Any, Any], size: int) -> Iterator[np.ndarray[Any, Any]]:
    """The numbers of candidates that have no row yet."""
    is_done = np.zeros(len(candidates), dtype=bool)
    is_done[done] = True
    for block in candidates.blocks(size):
        numbers = np.arange(block.start, block.stop)
        rest = numbers[~is_done[block.start : block.stop]]
        if len(rest):
            yield rest
