"""What a PyTorch model costs before anything runs, each figure derived twice.

>>> import costmodel
>>> p = costmodel.profile(costmodel.models.resnet18(), (1, 3, 224, 224))
>>> p.params, p.macs
(11689512, 1814073344)

A name is loaded when it is first used (PEP 562): this import takes a millisecond, and does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from costmodel import late
from costmodel.version import __version__ as __version__

if TYPE_CHECKING:
    from costmodel import formulas, models
    from costmodel.budgets.assertion import assert_costs
    from costmodel.candidates import Sweep, sweep
    from costmodel.comparison import Comparison, compare
    from costmodel.conventions import TOOLS, Recount
    from costmodel.cross_check import CrossCheck, crosscheck
    from costmodel.decoding import Generation, generation
    from costmodel.errors import (
        ConvertError,
        CostModelError,
        ForwardError,
        InputError,
        LoadError,
        NeedsValuesError,
        UnknownOpError,
    )
    from costmodel.formulas.cost import LayerCost
    from costmodel.inputs import Input, Value, call
    from costmodel.layers.own import register_layer
    from costmodel.loading import load
    from costmodel.measures import Measure, register_measure, unregister_measure
    from costmodel.ops.custom import register_op
    from costmodel.ops.functions import register_function
    from costmodel.polynomial import Scaling, scaling
    from costmodel.profiling import Profile, profile
    from costmodel.provenance import Provenance, published
    from costmodel.quantities import Convention, Traffic, Work
    from costmodel.saved import read_json
    from costmodel.timing import Measurement, measure
    from costmodel.training import TrainingStep, training_step

_NAMES = {
    "budgets.assertion": ("assert_costs",),
    "candidates": ("Sweep", "sweep"),
    "comparison": ("Comparison", "compare"),
    "conventions": ("TOOLS", "Recount"),
    "cross_check": ("CrossCheck", "crosscheck"),
    "decoding": ("Generation", "generation"),
    "errors": (
        "ConvertError", "CostModelError", "ForwardError", "InputError", "LoadError", "NeedsValuesError",
        "UnknownOpError",
    ),
    "formulas.cost": ("LayerCost",),
    "inputs": ("Input", "Value", "call"),
    "layers.own": ("register_layer",),
    "loading": ("load",),
    "measures": ("Measure", "register_measure", "unregister_measure"),
    "ops.custom": ("register_op",),
    "ops.functions": ("register_function",),
    "polynomial": ("Scaling", "scaling"),
    "profiling": ("Profile", "profile"),
    "provenance": ("Provenance", "published"),
    "quantities": ("Convention", "Traffic", "Work"),
    "saved": ("read_json",),
    "timing": ("Measurement", "measure"),
    "training": ("TrainingStep", "training_step"),
}  # fmt: skip
"""The public names by the module that defines them: what type checkers read above."""

_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "TOOLS",
    "Comparison",
    "Convention",
    "ConvertError",
    "CostModelError",
    "CrossCheck",
    "ForwardError",
    "Generation",
    "Input",
    "InputError",
    "LayerCost",
    "LoadError",
    "Measure",
    "Measurement",
    "NeedsValuesError",
    "Profile",
    "Provenance",
    "Recount",
    "Scaling",
    "Sweep",
    "Traffic",
    "TrainingStep",
    "UnknownOpError",
    "Value",
    "Work",
    "assert_costs",
    "call",
    "compare",
    "crosscheck",
    "formulas",
    "generation",
    "load",
    "measure",
    "models",
    "profile",
    "published",
    "read_json",
    "register_function",
    "register_layer",
    "register_measure",
    "register_op",
    "scaling",
    "sweep",
    "training_step",
    "unregister_measure",
]


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'costmodel' has no attribute {name!r}")
    try:
        with late.uncollected():
            if name in _MODULE_OF:
                value = globals()[name] = getattr(import_module(f"costmodel.{_MODULE_OF[name]}"), name)
                return value
            return import_module(f"costmodel.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"costmodel.{name}":
            raise
        raise AttributeError(f"module 'costmodel' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted(__all__)


def _comparison_of_formulas() -> Any:
    from costmodel import side_by_side

    return side_by_side.compare


def _render() -> Any:
    with late.uncollected():
        from costmodel import views

    return views.render


late.provide("costmodel.formulas", "compare", _comparison_of_formulas)
late.provide("costmodel.shown", "render", _render)
