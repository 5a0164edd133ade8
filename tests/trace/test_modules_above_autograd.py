"""torch's own module database: a step of each module on meta tensors runs the ops of a real one, and keeps the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import reduce
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from costmodel.torch_private import without_modes
from costmodel.trace.traced_tensor import as_traced
from tests._module_database import MODES, Sample, database, name_of, samples
from tests.trace._above import step

ENTRIES = {name_of(entry): entry for entry in database()}
MOST = 2
"""Samples of a module and mode."""
SETTINGS = {
    "float32": ("float32", nullcontext),
    "bfloat16": ("bfloat16", nullcontext),
    "autocast": ("float32", lambda: torch.autocast("cpu", torch.bfloat16)),
}
NEEDS_VALUES = {
    "nn.BatchNorm1d", "nn.BatchNorm2d", "nn.BatchNorm3d",  # an average over all batches, by their number
    "nn.GaussianNLLLoss",  # checks that no variance is negative
    "nn.TransformerEncoder",  # looks at a mask
    "nn.CTCLoss",  # reads the lengths of targets
}  # fmt: skip
"""Modules some of whose samples read a tensor's value: a model with one is run for real."""


def on(device: str, value: Any) -> Any:
    """A copy of an input there, which needs a gradient where it can have one."""

    def put(tensor: Tensor) -> Tensor:
        moved = tensor.detach().clone().to(device)
        return as_traced(moved.requires_grad_(moved.is_floating_point() or moved.is_complex()))

    return tree_map_only(Tensor, put, value)


def loss(outputs: Any) -> Tensor:
    """The sum of all that can be differentiated."""
    found = [t for t in tree_leaves(outputs) if isinstance(t, Tensor) and t.requires_grad]
    if not found:
        with without_modes():
            return torch.zeros((), requires_grad=True)
    return reduce(torch.add, [t.sum() for t in found])


def steps(name: str, dtype: str, within: Any, device: str) -> Iterator[Any]:
    """A step of every sample; the error where torch refuses it."""
    for mode in MODES:
        for sample in islice(samples(ENTRIES[name], dtype, mode), MOST):
            yield one_step(sample, within, device)


def one_step(sample: Sample, within: Any, device: str) -> Any:
    """The ops and what is kept, or the error."""

    def run(model: nn.Module, device: str) -> Tensor:
        with without_modes():
            args, kwargs = on(device, (sample.args, sample.kwargs))
        return loss(model(*args, **kwargs))

    try:
        return step(lambda: sample.module, run, within, device=device)
    except Exception as error:
        return str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ENTRIES)
def test_a_step_of_the_module(name: str, setting: str) -> None:
    """The same ops in the same order, forward and backward, and the same tensors kept."""
    dtype, within = SETTINGS[setting]
    real, meta = (list(steps(name, dtype, within, device)) for device in ("cpu", "meta"))
    for on_cpu, on_meta in zip(real, meta, strict=True):
        if isinstance(on_cpu, str):  # torch refuses the sample
            continue
        if isinstance(on_meta, str) and ("Tensor.item()" in on_meta or "no fake impl" in on_meta):
            assert name in NEEDS_VALUES
        else:
            assert on_meta == on_cpu
