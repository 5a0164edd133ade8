"""torch's own module database: a step of each module, whose layers' backward passes are derived twice."""

from __future__ import annotations

import warnings
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

import costmodel
from costmodel.errors import CostModelError
from tests._module_database import MODES, Sample, as_it_is, samples

MOST = 20
"""Samples of a module and mode."""


class Learnt(nn.Module):
    """A module behind a factor that is learnt, so that the gradients of its inputs are asked for, too."""

    def __init__(self, module: nn.Module, *, first_only: bool) -> None:
        super().__init__()
        self.module = module
        self.factor = nn.Parameter(torch.ones(()))
        self._first_only = first_only

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's; a tensor that is given twice is given twice."""
        learnt: dict[Tensor, Tensor] = {}

        def put(x: Tensor) -> Tensor:
            if x not in learnt and x.is_floating_point() and not (learnt and self._first_only):
                learnt[x] = x * self.factor
            return learnt.get(x, x)

        args, kwargs = tree_map_only(Tensor, put, (args, kwargs))
        return self.module(*args, **kwargs)


def loss(output: Any) -> Tensor:
    """Of the first tensor, so that a gradient arrives that lies in memory as it does."""
    first: Tensor = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
    return first.exp().sum()


def step_of(sample: Sample) -> costmodel.TrainingStep | None:
    """A step with gradients of all inputs, or of the first where torch has no others; ``None`` where it has none."""
    for first_only in (False, True):
        given = costmodel.call(*map(as_it_is, sample.args), **sample.kwargs)
        try:
            return costmodel.training_step(
                Learnt(sample.module, first_only=first_only), given, loss=loss, optimizer=None
            )
        except CostModelError:
            continue
    return None


def differences_of(entry: Any) -> dict[str, str]:
    """By quantity, the first sample in which both derivations differ, in either mode; what has no closed form, too."""
    found: dict[str, str] = {}
    compared = ran = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for mode in MODES:
            for sample in islice(samples(entry, "float32", mode), MOST):
                step = step_of(sample)
                if step is None:
                    continue
                ran, verdict = True, step.crosscheck()
                compared |= any(c.quantity.startswith("backward") for c in verdict.comparisons)
                if verdict.unknown:
                    found.setdefault("not exact", f"{mode}: {' '.join(verdict.unknown)}")
                for c in verdict.mismatches:
                    module = " ".join(str(sample.module).split())
                    text = f"{mode}: {c.name}: {c.closed_form}, traced {c.traced} in {module}"
                    found.setdefault(c.quantity.replace("_", " "), text)
    if not ran:
        found["no gradient"] = "torch has no gradient of any of its samples"
    elif not compared:
        found["traced only"] = "no sample's backward pass has a closed form"
    return found
