"""Inputs of transformers' models, from the sizes in their configuration and the signature of their forward."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias

from costmodel.default_inputs.irregular import IRREGULAR, tensor
from costmodel.default_inputs.modalities import audio, image, mark, text
from costmodel.default_inputs.sizes import Sizes
from costmodel.errors import InputError
from costmodel.graph import TensorSpec, tensors_in

OutputsOf: TypeAlias = Callable[[Callable[..., Any], dict[str, Any]], Any]
"""Gives what a method returns for given inputs, records in the place of tensors."""


def inputs(model: Any, outputs_of: OutputsOf) -> dict[str, Any]:
    """Each tensor that a model's forward cannot do without: of text, images and audio, as far as it takes them.

    Where an image or a sound takes the place of tokens in the text, it has as many as the model makes features of it.
    """
    taken = inspect.signature(model.forward).parameters
    sizes = Sizes(model.config, frozenset(taken))
    found: dict[str, Any] = {}
    main = getattr(model, "main_input_name", "input_ids")
    wanted = {main} if isinstance(main, str) else set(main)
    wanted |= {p.name for p in taken.values() if p.default is p.empty and _is_named(p)}
    if sizes.has("vision_config") and sizes.has("text_config"):
        wanted |= {"pixel_values", "input_ids"}
    irregular = {name: tensor(sizes, dims) for name, dims in IRREGULAR.get(model.config.model_type, {}).items()}
    wanted -= irregular.keys()
    found |= irregular
    for modality in (image, audio):
        found |= modality(sizes, wanted & taken.keys())
    marks = 0
    if "input_ids" in taken and found and mark(sizes) is not None:
        features = _features(model, found, outputs_of)
        marks = sum(prod(record.shape[:-1]) for record in features)
        width = sizes.part("text_config").one("hidden_size", default=0)
        if any(record.shape[-1] != width for record in features) and width:
            found, marks = {}, 0  # a configuration whose parts do not fit each other: text goes through alone
    if getattr(model.config, "is_encoder_decoder", False):
        wanted.add("decoder_input_ids")
    found = text(sizes, (wanted if found else wanted | {"input_ids"}) & taken.keys(), marks) | found
    missing = [p.name for p in taken.values() if p.default is p.empty and _is_named(p) and p.name not in found]
    if missing:
        raise InputError(
            f"{type(model).__name__} takes {', '.join(missing)}, and no input is known that fits: pass inputs, as in "
            f"costmodel.profile(model, {{'{missing[0]}': ...}})"
        )
    return {name: value for name, value in found.items() if name in taken}


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _features(model: Any, found: dict[str, Any], outputs_of: OutputsOf) -> list[TensorSpec]:
    """What the model makes of the image or the sound, which tokens of the text stand for."""
    for name in ("get_image_features", "get_audio_features"):
        method = getattr(model, name, None)
        if method is None:
            continue
        parameters = inspect.signature(method).parameters
        given = {key: value for key, value in found.items() if key in parameters}
        if given:
            outputs = outputs_of(method, given)
            return list(tensors_in(outputs.get("pooler_output") if isinstance(outputs, Mapping) else outputs))
    return []
