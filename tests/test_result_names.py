"""A result is headed by the model as it was asked for: by its spec, or a module by its class."""

from __future__ import annotations

import pytest

import costmodel
from costmodel import models

SPEC = "alexnet(num_classes=10)"

RESULTS = {
    "profile": lambda model: costmodel.profile(model, (1, 3, 224, 224)),
    "cross-check": lambda model: costmodel.crosscheck(model, (1, 3, 224, 224)),
    "cross-check beside fvcore": lambda model: costmodel.crosscheck(model, (1, 3, 224, 224), against="fvcore"),
    "a profile's cross-check": lambda model: costmodel.profile(model, (1, 3, 224, 224)).crosscheck(),
    "roofline": lambda model: costmodel.profile(model, (1, 3, 224, 224)).roofline("h100"),
    "guidelines": lambda model: costmodel.profile(model, (1, 3, 224, 224)).guidelines(),
    "recount": lambda model: costmodel.profile(model, (1, 3, 224, 224)).counted_as("torchinfo"),
    "published": lambda model: costmodel.published(model, macs="1G", inputs=(1, 3, 224, 224)),
    "training step": lambda model: costmodel.training_step(model, (1, 3, 224, 224)),
    "a step's cross-check": lambda model: costmodel.training_step(model, (1, 3, 224, 224)).crosscheck(),
    "a step's roofline": lambda model: costmodel.training_step(model, (1, 3, 224, 224)).roofline("h100"),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_is_headed_by_what_was_asked_for(kind: str) -> None:
    """The spec, not the class of the module that it makes, in each result's name, Markdown and notebook view."""
    result = RESULTS[kind](SPEC)
    named = result.model if hasattr(result, "model") else result.name
    assert named == SPEC
    heading = "".join(line for line in result.to_markdown().splitlines() if line.startswith("# "))
    assert "alexnet" in heading, heading
    assert SPEC in result._repr_html_()


@pytest.mark.parametrize("kind", RESULTS)
def test_a_module_is_called_by_its_class(kind: str) -> None:
    """Where there is no spec."""
    result = RESULTS[kind](models.alexnet(num_classes=10))
    assert (result.model if hasattr(result, "model") else result.name) == "AlexNet"
