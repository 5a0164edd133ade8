"""What a PyTorch model costs before anything runs, each figure derived twice.

>>> import costmodel
>>> p = costmodel.profile(costmodel.models.resnet18(), (1, 3, 224, 224))
>>> p.params, p.macs
(11689512, 1814073344)
"""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any

# What an import makes stays: a pass of the collector through all that torch made, 100 ms, would find nothing to free.
_collects = gc.isenabled()
gc.disable()
try:
    from costmodel import formulas, side_by_side
    from costmodel.comparison import Comparison, compare
    from costmodel.cross_check import CrossCheck, crosscheck
    from costmodel.errors import (
        ConvertError,
        CostModelError,
        ForwardError,
        InputError,
        LoadError,
        NeedsValuesError,
        UnknownOpError,
    )
    from costmodel.formulas import LayerCost
    from costmodel.inputs import Input, Value, call
    from costmodel.layers import register_layer
    from costmodel.loading import load
    from costmodel.measures import Measure, register_measure, unregister_measure
    from costmodel.ops.custom import register_op
    from costmodel.ops.functions import register_function
    from costmodel.profiling import Profile, profile
    from costmodel.quantities import Convention, Traffic, Work
    from costmodel.saved import read_json
    from costmodel.training import TrainingStep, training_step
    from costmodel.version import __version__ as __version__
finally:
    if _collects:
        gc.enable()

# Its result is a report. A formula knows nothing of reports, so that file cannot import this one.
formulas.compare = side_by_side.compare

if TYPE_CHECKING:
    from costmodel import models

__all__ = [
    "Comparison",
    "Convention",
    "ConvertError",
    "CostModelError",
    "CrossCheck",
    "ForwardError",
    "Input",
    "InputError",
    "LayerCost",
    "LoadError",
    "Measure",
    "NeedsValuesError",
    "Profile",
    "Traffic",
    "TrainingStep",
    "UnknownOpError",
    "Value",
    "Work",
    "call",
    "compare",
    "crosscheck",
    "formulas",
    "load",
    "models",
    "profile",
    "read_json",
    "register_function",
    "register_layer",
    "register_measure",
    "register_op",
    "training_step",
    "unregister_measure",
]


def __getattr__(name: str) -> Any:
    if name == "models":  # imported when it is first used
        return import_module("costmodel.models")
    raise AttributeError(f"module 'costmodel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
