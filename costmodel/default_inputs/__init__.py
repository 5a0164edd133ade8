"""The inputs of a model that says itself what it takes; one file for each library whose models do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmodel.attributes import attribute_of
from costmodel.default_inputs import transformers
from costmodel.default_inputs.transformers import OutputsOf
from costmodel.errors import InputError


def default_inputs(model: Any, outputs_of: OutputsOf) -> Any:
    """The inputs that a model itself names: ``example_inputs``, timm's ``default_cfg``, a transformers config.

    ``outputs_of`` traces a method of the model, where its inputs depend on what another part of it makes.
    """
    given = attribute_of(model, "example_inputs")
    if given is not None:
        return given
    timm = attribute_of(model, "pretrained_cfg") or attribute_of(model, "default_cfg")
    size = timm.get("input_size") if isinstance(timm, Mapping) else None
    if size is not None:
        return (1, *size)
    if attribute_of(attribute_of(model, "config"), "model_type") is not None:
        return transformers.inputs(model, outputs_of)
    raise InputError(
        f"{type(model).__name__} does not say what it takes (no example_inputs, no timm default_cfg, no transformers "
        "config): pass inputs, such as (1, 3, 224, 224); on the command line --input 1,3,224,224; in a budget file "
        "input = [1, 3, 224, 224]"
    )
