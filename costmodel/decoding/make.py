"""``generation``: reads the arguments and begins."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.decoding.parameters import PACKED
from costmodel.decoding.result import Generation, require_positions
from costmodel.decoding.steps import CACHES, Steps
from costmodel.errors import InputError, require_torch
from costmodel.inputs import dtype_of

if TYPE_CHECKING:
    from torch import nn


def generation(
    model: nn.Module | str,
    *,
    prompt: int,
    new: int = 1,
    batch: int = 1,
    dtype: Any = None,
    weights: str | None = None,
) -> Generation:
    """What it costs to read a prompt and to make new tokens, with the model's own cache. Nothing is computed.

    The prompt's call gives the first new token, and each call after it, with one token and the cache, one more: ``new``
    tokens are a prompt and ``new - 1`` such calls. An encoder-decoder's encoder reads the prompt and its decoder begins
    with one token; where it reads sound or an image, the decoder begins with the prompt.

    Args:
        model: a language model of transformers, or one whose forward takes ``input_ids`` and a cache as those do; or a
            spec as for ``costmodel.load``, built without weights: ``"hf:config.json"``. It is not changed.
        prompt: tokens of each sample's prompt.
        new: new tokens of each sample.
        batch: samples.
        dtype: price it as if of this dtype, ``"bfloat16"``; ``None``: as it is.
        weights: ``"int8"`` or ``"int4"``: the weights of linear layers and experts are packed to one byte and a scale
            for each row, or to half a byte and a scale for each 128 weights of a row. Arithmetic stays as it is.

    Raises:
        InputError: the model makes no tokens, or has no cache, or no positions for so many.
    """
    for name, value in (("prompt", prompt), ("new", new), ("batch", batch)):
        if type(value) is not int or value < 1:
            raise InputError(f"{name}={short(value)}: give a number of {_COUNTED[name]}, an int from 1")
    if weights is not None and not (isinstance(weights, str) and weights in PACKED):
        raise InputError(f"weights={short(weights)}: they are packed as {' or '.join(PACKED)}, or None")
    as_if = None if dtype is None else dtype_of(dtype)
    require_torch("costmodel.generation")
    if isinstance(model, str):
        from costmodel.loading import language_model

        name, module = model, language_model(model)
    else:
        name, module = type(model).__name__, model
    _require_cache(module)
    if as_if is not None:
        from costmodel.loading import on_meta

        # Not profile's dtype: that would be the dtype of given states, too, which some models keep in float32.
        module = on_meta(module, as_if)
    steps = Steps(module, prompt=prompt, batch=batch)
    require_positions(steps, steps.begins_with + new - 1)
    return Generation(name, steps, new, weights)


_COUNTED = {"prompt": "tokens", "new": "tokens", "batch": "samples"}


def _require_cache(model: Any) -> None:
    what = type(model).__name__
    if not callable(getattr(model, "forward", None)):
        config = "; AutoModelForCausalLM.from_config makes a model of it" if hasattr(model, "to_json_file") else ""
        raise InputError(
            f"generation takes a model that makes tokens, or its spec (hf:config.json), not {what}{config}"
        )
    makes_tokens = getattr(model, "can_generate", lambda: True)
    taken = inspect.signature(model.forward).parameters
    if not makes_tokens():
        raise InputError(
            f"{what} makes no tokens: it has no head over a vocabulary. Give the class that generates, such as "
            f"AutoModelForCausalLM.from_config(model.config)"
        )
    if not any(name in taken for name in CACHES) or "use_cache" not in taken:
        raise InputError(
            f"{what} has no cache: its forward takes none of {', '.join(CACHES)}, so each new token costs a forward of "
            f"all before it, as costmodel.profile has it"
        )
