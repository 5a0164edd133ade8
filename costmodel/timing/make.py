"""``measure``: reads the arguments, and puts measured times beside the roofline."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.errors import InputError, require_torch
from costmodel.inputs import dtype_of
from costmodel.timing.result import Measurement

if TYPE_CHECKING:
    import torch
    from torch import nn

REPEATS = 20


def measure(
    model: nn.Module | Callable[..., Any] | str,
    inputs: Any = None,
    *,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    repeats: int = REPEATS,
    peaks: str | None = None,
    dtype: Any = None,
    clock: Callable[[], float] = perf_counter,
) -> Measurement:
    """How long a model's forward and each of its layers take, beside the least time by its roofline.

    The model runs for real, in eval mode, in torch's inference mode (a forward that differentiates: with autograd) and
    op by op, as ``profile`` reads it: a compiled one, too, and without attention's fused inference path. What runs is a
    copy, which shares the parameters where it is on the same device and the forward does not write them: the model is
    as before, also after an error. Inputs and random generators begin each run with the same values.

    Warm-up runs come first. Then, in turns, the whole forward runs without any hook, and with hooks around the leaf
    modules, which time the layers. Rows are those of ``Profile.layers``, call by call.

    Args:
        model: any ``nn.Module``, a method of one, or a spec string as ``costmodel.load`` takes it.
        inputs: as for ``costmodel.profile``; of a shape, random numbers (of integers, zeros).
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. On a GPU times are between events in its stream.
        threads: torch's threads on the CPU; ``None``: as many as it has now.
        repeats: runs of the whole forward, and as many with hooks.
        peaks: the device whose peak rates make the bound, one of ``costmodel.devices.device_names()`` or a file of your
            own. ``None``: on the CPU ``this-cpu`` as ``costmodel calibrate`` measured it; where that was not done with
            as many threads, it is calibrated now, for two seconds. On a GPU, the device of its name.
        dtype: measure a copy of this dtype, ``"bfloat16"``, with floating inputs of it.
        clock: what is read on the CPU. With one thread on a busy machine ``time.thread_time`` leaves out waiting.

    Raises:
        InputError: the arguments cannot be understood, the clock reads no seconds, the device is not there or has too
            little memory, no peak rates are known of it, or the model cannot be copied.
        ForwardError: the model's forward failed.
    """
    for name, value in (("threads", threads), ("repeats", repeats)):
        if (value is not None or name == "repeats") and (type(value) is not int or value < 1):
            raise InputError(f"{name}={short(value)}: give an int from 1")
    as_if = None if dtype is None else dtype_of(dtype)
    require_torch("costmodel.measure")
    from costmodel.timing import runs

    spec = model if isinstance(model, str) else None
    if isinstance(model, str):
        from costmodel.loading import load

        model = load(model)
    return runs.measurement(
        model, inputs, spec=spec, on=device, threads=threads, repeats=repeats, peaks=peaks, dtype=as_if, clock=clock
    )
