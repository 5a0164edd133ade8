"""Runs a copy of the model in turns without hooks and with them, and reads the times off."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from math import inf
from types import MethodType
from typing import Any

import torch
from torch import nn

from costmodel.arguments import reason, short
from costmodel.calibrate import cpu_name, require_clock
from costmodel.default_inputs import default_inputs
from costmodel.devices import Device, device
from costmodel.errors import CostModelError, ForwardError, InputError
from costmodel.profiling import Profile, profile
from costmodel.rendering import without_passes
from costmodel.roofline import Roofline, roofline
from costmodel.timing.clocks import cpu_clocks, cpu_frequency, gpu_clocks
from costmodel.timing.copied import Inputs, beside, device_of, moved, require_room
from costmodel.timing.hooks import Marks, Place, calls_noted, difference, has_no_hooks, places
from costmodel.timing.peaks import of_gpu, of_this_cpu
from costmodel.timing.result import Measurement, Peaks, Setting, TimedLayer, Times
from costmodel.timing.stopwatch import Clock, CpuStopwatch, CudaStopwatch, Stopwatch
from costmodel.torch_private import without_modes
from costmodel.trace import outputs_of
from costmodel.trace.cast import require_floating
from costmodel.trace.isolation import one_at_a_time, plain_eager, rng_restored, training_mode
from costmodel.trace.snapshot import restored
from costmodel.trace.target import Target, target_of

WARM_UP = 3
"""Forwards before the first that counts: allocators, caches and threads are then as they stay."""
NOTED = 2
"""Of those, the ones in which the calls of modules are noted: twice, to see which modules are the same each time."""
EMPTY_CALLS = 200
"""Calls of a module that does nothing, which show what hooks read around it."""


def measurement(
    model: nn.Module | Callable[..., Any],
    inputs: Any,
    *,
    spec: str | None,
    on: Any,
    threads: int | None,
    repeats: int,
    peaks: str | None,
    dtype: torch.dtype | None,
    clock: Clock,
) -> Measurement:
    """The times of a model's forward on a device, beside the bound."""
    where = _device(on)
    require_clock(clock)
    if dtype is not None:
        require_floating(dtype)
    target = target_of(model)
    if target.module is not getattr(model, "__self__", model):
        raise InputError(
            f"measure runs a copy of a module, and {target.name} is none: give a torch.nn.Module, or a method of one"
        )
    if inputs is None:
        inputs = default_inputs(target.module, outputs_of)
    own = device_of(target.module)
    with (
        _threads(threads),
        torch.cuda.device(where) if where.type == "cuda" else nullcontext(),
        torch.inference_mode(False),  # a forward that differentiates takes no copies that were made in it
        torch.enable_grad(),
    ):
        found, why = _peaks(where, peaks, clock)
        if own == where and dtype is None:
            p = profile(model, inputs)
            target = _of_copy(target, beside(target.module, p.graph))
        else:
            target = _of_copy(target, moved(target.module, where, dtype))
            p = profile(target.method or target.module, inputs, dtype=dtype)
        require_room(where, p.peak_memory, "what is live in the forward")
        stopwatch = CudaStopwatch(where) if where.type == "cuda" else CpuStopwatch(clock)
        math = "tf32" if where.type == "cuda" and "tf32" in found.peak and _allows_tf32() else "float32"
        roof = roofline(p.pricing, p.fusion, found, math)
        before = cpu_frequency()
        run = _Run(target, Inputs(inputs, target.module, target.forward, where, dtype), stopwatch)
        times = run.in_turns(p, repeats, inputs)
        clocks = cpu_clocks(before) if where.type == "cpu" else gpu_clocks(_gpu(where))
        setting = Setting(
            device=str(where),
            hardware=cpu_name() if where.type == "cpu" else torch.cuda.get_device_name(where),
            threads=torch.get_num_threads() if where.type == "cpu" else None,
            warm_up=WARM_UP,
            timer=stopwatch.name,
            hook=times.hook,
            with_grad=run.with_grad,
            torch=torch.__version__,
            date=date.today().isoformat(),
            clocks=clocks,
        )
    return Measurement(
        name=spec or p.name,
        inputs=tuple((t.shape, t.dtype) for t in p.inputs),
        total=Times(tuple(times.whole), roof.time),
        rows=tuple(_rows(p, roof, times)),
        hooked=tuple(times.hooked),
        peaks=Peaks(
            found.name, found.title, math, why, tuple((name, *figure) for name, figure in roof.sources.items())
        ),
        setting=setting,
        is_exact=p.is_exact,
        unmatched=times.unmatched,
    )


def _device(on: Any) -> torch.device:
    try:
        where = torch.device(on)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device={short(on)}: give 'cpu', 'cuda' or 'cuda:1' ({reason(error)})") from error
    if where.type not in ("cpu", "cuda"):
        raise InputError(f"device={short(on)}: times are taken on 'cpu' and 'cuda'")
    if where.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(str(where).partition(":")[2] or (torch.cuda.current_device() if count else 0))
    if index >= count:
        there = f"torch sees {count} here" if count else "torch sees none here (torch.cuda.is_available() is False)"
        raise InputError(f"device={short(on)}: {there}; measure on the CPU, or where there is such a GPU")
    return torch.device("cuda", index)


def _of_copy(target: Target, copied: nn.Module) -> Target:
    method: Any = target.method
    return Target(copied, target.name, None if method is None else MethodType(method.__func__, copied))


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _peaks(where: torch.device, named: str | None, clock: Clock) -> tuple[Device, str]:
    """The device whose peak rates make the bound, and how it was chosen."""
    if named is not None:
        return device(named), "as named"
    return of_this_cpu(clock) if where.type == "cpu" else of_gpu(torch.cuda.get_device_name(where))


def _allows_tf32() -> bool:
    """Whether products of float32 may be rounded to TF32: convolutions are, by torch's default."""
    try:
        return bool(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:  # set by both of torch's ways of saying so, which it refuses to read as one
        return True


def _gpu(where: torch.device) -> str:
    """What nvidia-smi knows a GPU by, which counts others than torch where some are hidden."""
    uuid = getattr(torch.cuda.get_device_properties(where), "uuid", None)
    return str(where.index) if uuid is None else f"GPU-{uuid}"


def _rows(p: Profile, roof: Roofline, times: _Times) -> Iterator[TimedLayer]:
    for index, (layer, bound) in enumerate(zip(p.pricing.layers, roof.layers, strict=True)):
        runs = times.layers.get(index)
        yield TimedLayer(
            name=layer.name, type=layer.type, kind=layer.kind, macs=bound.macs, flops=bound.flops, nbytes=bound.nbytes,
            bound_by=bound.bound, bound=bound.time, times=None if runs is None else Times(tuple(runs), bound.time),
        )  # fmt: skip


class _Times:
    """What was read."""

    def __init__(self) -> None:
        self.whole: list[float] = []
        self.hooked: list[float] = []
        self.layers: dict[int, list[float]] = {}
        """By the row of ``Profile.layers``."""
        self.hook = 0.0
        self.unmatched = ""


class _Run:
    """Forwards of one model, one after the other."""

    def __init__(self, target: Target, inputs: Inputs, stopwatch: Stopwatch) -> None:
        self._target, self._inputs, self._stopwatch = target, inputs, stopwatch
        self._modules = list(target.module.modules())
        self._kinds = set(map(type, self._modules))
        self.with_grad = False
        """Whether autograd records the forwards, which fail without."""

    def in_turns(self, p: Profile, repeats: int, given: Any) -> _Times:
        """Warms up, and then runs without hooks and with them, as often each."""
        model, found = self._target.module, _Times()
        with (
            one_at_a_time(), without_modes(), restored(self._modules, [*model.parameters()], given),
            plain_eager(self._kinds), training_mode(model, self._modules, False), without_passes(),
        ):  # fmt: skip
            rows, at, found.unmatched = self._matched(p)
            for _ in range(WARM_UP - NOTED):
                self._once()
            found.hook = self._empty()
            found.layers = {row: [] for row in rows}
            for _ in range(repeats):
                found.whole.append(self._once())
                if not at:
                    continue
                with Marks(at, self._stopwatch) as marks:
                    whole = self._once()
                taken = marks.seconds()
                if taken is None:
                    found.layers, found.hooked, at = {}, [], []
                    found.unmatched = "one run called other layers than the first"
                    continue
                found.hooked.append(whole)
                for row, seconds in zip(rows, taken, strict=True):
                    found.layers[row].append(seconds)
        return found

    def _matched(self, p: Profile) -> tuple[Sequence[int], Sequence[Place], str]:
        """The rows of the profile that hooks can time, and which calls those are; or why a forward has other calls."""
        try:
            first = self._noted()
        except ForwardError:  # in inference mode: it may differentiate
            self.with_grad = True
            first = self._noted()
        second, model = self._noted(), self._target.module
        other = difference(first, p.graph.calls, model) or difference(second, p.graph.calls, model)
        if other:
            return [], [], other
        # A module that the forward makes anew each time has no hook when it is called.
        stays = [module is again and not has_no_hooks(module) for module, again in zip(first, second, strict=True)]
        calls = {
            row: layer.module.index
            for row, layer in enumerate(p.pricing.layers)
            if layer.module is not None and stays[layer.module.index]
        }
        if self._target.method is not None:  # around whose call, of a function, there is no hook
            calls = {row: index for row, index in calls.items() if index}
        return list(calls), places(first, list(calls.values())), ""

    def _noted(self) -> list[nn.Module]:
        """The modules that one forward calls, in order."""
        order: list[nn.Module] = [] if self._target.method is None else [self._target.module]
        with calls_noted(order):
            self._once()
        return order

    def _once(self) -> float:
        """The seconds of one forward, from and to an idle device."""
        model, method = self._target.module, self._target.method
        forward: Callable[..., Any] = model if method is None else method
        args, kwargs = self._inputs()
        with (
            rng_restored(self._kinds),
            torch.inference_mode(not self.with_grad),
            torch.set_grad_enabled(self.with_grad),
        ):
            self._stopwatch.settle()
            try:
                start = self._stopwatch.mark()
                output = forward(*args, **kwargs)
                end = self._stopwatch.mark()
                self._stopwatch.settle()
            except CostModelError:
                raise
            except (Exception, SystemExit) as error:
                raise ForwardError(
                    f"the forward of {self._target.name} failed when it ran to be measured: {type(error).__name__}: "
                    f"{error}. costmodel.profile reads it without computing"
                ) from error
        del output
        seconds = self._stopwatch.seconds(start, end)
        if not 0 <= seconds < inf:
            raise InputError(f"the clock went from {start} to {end} in a forward: give one that goes on")
        return seconds

    def _empty(self) -> float:
        """Seconds that hooks read around a module that does nothing."""
        empty = nn.Identity()
        given = torch.zeros(())
        with Marks([(empty, nth) for nth in range(EMPTY_CALLS)], self._stopwatch) as marks:
            for _ in range(EMPTY_CALLS):
                empty(given)
            self._stopwatch.settle()
        return statistics.median(marks.seconds() or [0.0])
