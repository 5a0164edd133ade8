"""torch's own module database: each module's samples profiled, called for real, and derived twice.

Torch wrote it for its own tests: some 110 modules, each with arguments to construct and to call it, for both modes.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import costmodel
from costmodel.errors import CostModelError
from costmodel.inputs import is_shape
from costmodel.trace import Mode
from tests.ops._op_database import differing_outputs

DTYPES = ("float32", "float64", "bfloat16", "complex64")
MODES: tuple[Mode, ...] = ("eval", "train")
MOST = 20
"""Samples of a module, dtype and mode."""


@dataclass(frozen=True)
class Sample:
    """One call of a module that torch made."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """What it takes, in order."""
        return tuple(leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor))

    def run(self) -> Any:
        """What torch returns."""
        with torch.no_grad():
            return self.module(*self.args, **self.kwargs)


def database() -> list[Any]:
    """Every entry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db

        return list(module_db)


def name_of(entry: Any) -> str:
    """The entry's name, which is that of its module."""
    return str(entry.name)


def takes(entry: Any, dtype: str) -> bool:
    """Whether torch says that the module takes this dtype. It says so of few; many more run."""
    return getattr(torch, dtype) in entry.supported_dtypes("cpu")


def samples(entry: Any, dtype: str, mode: Mode) -> Iterator[Sample]:
    """Up to so many calls, the same every time; none where torch makes no such numbers for this module."""
    torch.manual_seed(0)
    random.seed(0)
    wanted, training = getattr(torch, dtype), mode == "train"
    try:
        found = entry.module_inputs_func(entry, device="cpu", dtype=wanted, requires_grad=False, training=training)
    except (NotImplementedError, RuntimeError):
        if takes(entry, dtype):
            raise
        return
    for sample in islice(found, MOST):
        made, called = sample.constructor_input, sample.forward_input
        # Cast as a whole, as torch's own tests do: some samples give buffers of another dtype.
        yield Sample(entry.module_cls(*made.args, **made.kwargs).to(wanted).train(training), called.args, called.kwargs)


def as_it_is(value: Any) -> Any:
    """An argument for ``costmodel.call``, which reads integers in a row as the shape of a tensor."""
    return costmodel.Value(value) if is_shape(value) else value


def differences(sample: Sample, mode: Mode) -> dict[str, str] | None:
    """How far a sample is from derived twice, by kind; ``None`` where torch itself refuses the call."""
    profile, raised = None, None
    try:  # first: a real call may change the module
        given = costmodel.call(*map(as_it_is, sample.args), **sample.kwargs)
        profile = costmodel.profile(sample.module, given, mode=mode)
    except CostModelError as error:
        raised = {"refused": str(error)}
    except Exception as error:
        raised = {"raw error": repr(error)}
    try:
        outputs = sample.run()
    except Exception:
        return None
    if profile is None:
        return raised
    verdict = profile.crosscheck()
    found = differing_outputs(profile, sample.tensors, outputs)
    if verdict.unknown:
        found["not exact"] = " ".join(verdict.unknown)
    if verdict.traced_only or not verdict.checked:
        module = " ".join(str(sample.module).split())
        found["traced only"] = f"{', '.join(verdict.traced_only) or verdict.unchecked_because} in {module}"
    if verdict.mismatches:
        found["mismatch"] = "; ".join(
            f"{c.name} {c.quantity}: {c.closed_form}, traced {c.traced}" for c in verdict.mismatches
        )
    return found


def differences_of(entry: Any, dtype: str) -> dict[str, str] | None:
    """The first difference of each kind in the samples of one dtype, in both modes; ``None`` where torch runs none.

    A module that torch says takes the dtype has to run.
    """
    found: dict[str, str] = {}
    ran = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for mode in MODES:
            for sample in samples(entry, dtype, mode):
                of_sample = differences(sample, mode)
                ran += of_sample is not None
                for kind, text in (of_sample or {}).items():
                    found.setdefault(kind, f"{mode}: {text}")
    if ran:
        return found
    return {"does not run": ""} if takes(entry, dtype) else None


def main() -> None:
    """Prints how many modules are derived twice, by dtype, and what of each other one differs."""
    torch.set_num_threads(1)
    for dtype in DTYPES:
        found = {name_of(entry): differences_of(entry, dtype) for entry in database()}
        ran = {name: differs for name, differs in found.items() if differs is not None}
        differ = {name: differs for name, differs in ran.items() if differs}
        print(f"{dtype}: {len(ran) - len(differ)} of {len(ran)} derived twice in every sample; torch runs no other")
        for name, differs in differ.items():
            print(*(f"  {name} | {kind} | {text}" for kind, text in differs.items()), sep="\n")


if __name__ == "__main__":
    main()
