"""Where candidates are priced: in this process, in several that joblib starts, or by the workers of a Dask cluster.

None of them is an engine of our own. Results come back block by block in any order, and this process alone writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.arguments import short
from costmodel.candidates.rows import Pricer, Rows
from costmodel.errors import CostModelError, InputError, not_installed
from costmodel.version import __version__

if TYPE_CHECKING:
    from costmodel.candidates.grid import Columns, Grid

Numbers = np.ndarray[Any, Any]
Blocks = Iterable[Numbers]
Results = Iterator[tuple[Numbers, Rows]]


def chosen(engine: Any) -> Callable[[Pricer, Grid, Blocks], Results]:
    """The function that runs blocks on an engine. Raises ``InputError`` for what is none."""
    if engine is None:
        return in_this_process
    if isinstance(engine, int) and not isinstance(engine, bool) and engine > 0:
        return in_this_process if engine == 1 else lambda *work: in_processes(engine, *work)
    if type(engine).__module__.partition(".")[0] == "distributed" and hasattr(engine, "submit"):
        return lambda *work: on_cluster(engine, *work)
    raise InputError(
        f"an engine is None, a number of processes or a dask.distributed.Client, not {short(engine)}"
    )  # fmt: skip


def missing(package: str, what: str) -> CostModelError:
    """The error where a package of the extra is not installed."""
    return not_installed(package, what=what, extra="sweep")


def in_this_process(pricer: Pricer, grid: Grid, blocks: Blocks) -> Results:
    """One block after the other."""
    for numbers in blocks:
        yield numbers, pricer.price(grid.columns(numbers))


def in_processes(count: int, pricer: Pricer, grid: Grid, blocks: Blocks) -> Results:
    """In so many processes, which joblib starts, and keeps for a while."""
    try:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError
    except ImportError as error:
        raise missing("joblib", "a sweep in several processes") from error

    parallel = Parallel(n_jobs=count, return_as="generator_unordered", batch_size=1, pre_dispatch=2 * count)
    try:
        yield from parallel(delayed(_price)(pricer, numbers, grid.columns(numbers)) for numbers in blocks)
    except TerminatedWorkerError as error:
        raise CostModelError(
            "a process of the sweep was ended from outside, most often for want of memory. What is saved stays: sweep "
            "again with the same folder, and fewer processes, to go on"
        ) from error


def on_cluster(client: Any, pricer: Pricer, grid: Grid, blocks: Blocks) -> Results:
    """On the workers of a cluster. Dask gives the blocks of a worker that is lost to others.

    A block on which worker after worker is lost is tried candidate by candidate, and the one that does it alone fails.
    """
    from distributed import as_completed

    workers = _check(client)

    def submitted(numbers: Numbers) -> Any:
        # Not pure: a future of the same block, of this sweep or an earlier one, is another.
        future = client.submit(_price, pricer, numbers, grid.columns(numbers), pure=False, retries=0)
        waiting[future.key] = numbers
        return future

    waiting: dict[str, Numbers] = {}
    rest = iter(blocks)
    done = as_completed(raise_errors=False)
    for numbers in islice(rest, 2 * workers + 2):
        done.add(submitted(numbers))
    suspects: list[Numbers] = []
    for future in done:
        numbers = waiting.pop(future.key)
        if _loss(future) is None:
            yield future.result()
        elif len(numbers) > 1:
            done.update([submitted(numbers[i : i + 1]) for i in range(len(numbers))])
            continue
        else:
            suspects.append(numbers)
        following = next(rest, None)
        if following is not None:
            done.add(submitted(following))
    for numbers in suspects:  # alone: any other that waited for the same workers may have ended them
        future = submitted(numbers)
        loss = _loss(future)
        reason = f"the workers that had it were lost, one after the other: {loss}"
        yield (numbers, Rows(failures={0: " ".join(reason.split())})) if loss is not None else future.result()


def _loss(future: Any) -> BaseException | None:
    """Dask's error, where worker after worker was lost that had a block. Raises for any other."""
    from distributed import KilledWorker

    error: BaseException | None = future.exception()
    if error is not None and not isinstance(error, KilledWorker):
        raise CostModelError(f"the cluster failed: {type(error).__name__}: {error}") from error
    return error


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the scheduler at an address, ``tcp://host:8786``."""
    try:
        from distributed import Client
    except ImportError as error:
        raise missing("distributed", "a sweep on a Dask cluster") from error
    try:
        client = Client(address, timeout=SCHEDULER_TIMEOUT_S)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{address} is no number of processes, and no Dask scheduler answers there ({reason}): start one, "
            "dask scheduler"
        ) from error
    with client:
        yield client


SCHEDULER_TIMEOUT_S = 10
"""How long to wait for a scheduler."""


def _check(client: Any) -> int:
    """How many threads the workers have. Raises where there are none, or costmodel is not what it is here."""
    from distributed import TimeoutError as NoWorker

    try:
        client.wait_for_workers(1, timeout=WORKER_TIMEOUT_S)
    except (NoWorker, TimeoutError) as error:
        address = client.scheduler.address
        raise InputError(f"the cluster at {address} has no workers: start some, dask worker {address}") from error
    versions = client.run(_version, on_error="return")
    for worker, found in versions.items():
        if isinstance(found, BaseException):
            raise InputError(f"the worker {worker} cannot use costmodel: {type(found).__name__}: {found}") from found
        if found != __version__:
            raise InputError(
                f"the worker {worker} has costmodel {found}, and {__version__} is here: install one of them"
            )
    return sum(client.nthreads().values())


WORKER_TIMEOUT_S = 30
"""How long to wait for the first worker of a cluster."""


def _version() -> str:
    return __version__


def _price(pricer: Pricer, numbers: Numbers, columns: Columns) -> tuple[Numbers, Rows]:
    return numbers, pricer.price(columns)
