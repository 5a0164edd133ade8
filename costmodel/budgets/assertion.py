"""``assert_costs``: the bounds of a model, as an assertion of a test."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from costmodel.budgets.bounds import Bound, bounds_of
from costmodel.budgets.finding import held
from costmodel.budgets.subject import Settings, Subject, examine
from costmodel.errors import InputError


def assert_costs(
    model: Any,
    inputs: Any = None,
    *,
    mode: str = "eval",
    dtype: Any = None,
    batch: int | None = None,
    optimizer: Any = "adamw",
    loss: Any = None,
    autocast: Any = None,
    device: str | None = None,
    memory: int | str | None = None,
    math: str = "float32",
    **bounds: str | Sequence[str],
) -> None:
    """Raises ``AssertionError`` where a figure does not keep its bound. The model is traced once, and never runs.

    Args:
        model: as for ``costmodel.profile``.
        inputs: as for ``costmodel.profile``.
        mode: as for ``costmodel.profile``; so is dtype.
        dtype: as for ``costmodel.profile``.
        batch: samples of a training step, where that is not as many as the inputs have.
        optimizer: as for ``costmodel.training_step``; so are loss and autocast.
        loss: as for ``costmodel.training_step``, or a text that names a function, ``package.module:function``.
        autocast: as for ``costmodel.training_step``.
        device: the device of a bound on ``time``, ``fused_time``, ``training_time`` or ``fused_training_time``.
        memory: what ``largest_batch`` has to fit into: bytes, ``"24GB"``, or a device; by default that of ``device``.
        math: how products of float32 tensors are computed on the device, as for ``Profile.roofline``.
        **bounds: a bound, or a list of several, for each measure of a forward or of a training step, registered ones
            too, for a time, or for ``largest_batch``: ``"<=320M"``, ``">= 1M"``, ``"== 25.6M ± 1%"``, ``"<= 5 ms"``.

    A figure that is a lower bound, as an op without a rule makes it, does not keep an upper bound.

    >>> from torch import nn
    >>> assert_costs(nn.Conv2d(3, 8, 3), (1, 3, 32, 32), macs="<=200k", params="== 224", peak_memory="<= 20MB")
    >>> assert_costs(nn.Conv2d(3, 8, 3), (1, 3, 32, 32), macs="<=100k")
    Traceback (most recent call last):
        ...
    AssertionError: Conv2d does not keep its budget:
    ✗ MACs: 194 kMACs of at most 100 kMACs, 94.4% over
    """
    __tracebackhide__ = True
    settings = Settings(
        mode=mode, dtype=dtype, batch=batch, optimizer=optimizer, loss=loss, autocast=autocast, device=device,
        memory=memory, math=math,
    )  # fmt: skip
    if not bounds:
        raise InputError("give a bound at least, as macs='<=320M'")
    missed = examine(model, inputs, settings, partial(failure, bounds=bounds_of(bounds, settings)))
    if missed:
        raise AssertionError(missed)


def failure(subject: Subject, bounds: Sequence[Bound]) -> str:
    """The figures that do not keep their bounds, as an assertion says it; ``""`` where all do."""
    findings = held(subject, bounds)
    if all(finding.is_kept for finding in findings):
        return ""
    from costmodel.views import budgets
    from costmodel.views.grid import WIDE
    from costmodel.views.styled import plain

    return plain(budgets.failure(subject, findings), WIDE)
