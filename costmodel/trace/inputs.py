"""Turns what a user gives as inputs into the tensors that the forward pass is called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Number
from typing import Any

import torch
from torch import nn

from costmodel.errors import InputError


@dataclass(frozen=True)
class Input:
    """The shape and dtype of an input, where a bare shape, of the model's own floating dtype, does not say enough.

    >>> Input((1, 128), torch.int64)
    Input(shape=(1, 128), dtype=torch.int64)
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if not is_shape(self.shape):
            raise InputError(f"Input takes a shape, a tuple of non-negative ints, not {self.shape!r}")
        if not isinstance(self.dtype, torch.dtype):
            raise InputError(f"Input takes a dtype of torch's, such as torch.int64, not {self.dtype!r}")
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))


def is_shape(value: Any) -> bool:
    """Whether a value reads as a shape: a non-empty tuple, list or torch.Size of non-negative ints, NumPy's too."""
    return (
        isinstance(value, (tuple, list))
        and len(value) > 0
        and not any(isinstance(n, bool) for n in value)
        and all(isinstance(n, Integral) and int(n) >= 0 for n in value)
    )


Make = Callable[[tuple[int, ...], torch.dtype], torch.Tensor]


_FLOATING = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


def arguments(
    inputs: Any, make: Make, keep: Callable[[torch.Tensor], torch.Tensor], own: Iterable[torch.Tensor]
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for the forward: shapes made into tensors, given tensors passed to ``keep``.

    ``own`` are the model's own tensors: a bare shape takes their floating dtype.

    >>> make = lambda shape, dtype: torch.empty(shape, dtype=dtype, device="meta")
    >>> args, kwargs = arguments(((1, 3, 8, 8), [(2, 4)]), make, lambda t: t, own=[])
    >>> args[0].shape, args[1][0].shape, kwargs
    (torch.Size([1, 3, 8, 8]), torch.Size([2, 4]), {})
    """
    kept: dict[int, torch.Tensor] = {}
    floating = next((t.dtype for t in own if t.dtype in _FLOATING), torch.get_default_dtype())

    def build(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            # A tensor that is given twice stays one: attention looks whether query and key are the same.
            if id(value) not in kept:
                kept[id(value)] = keep(value)
            return kept[id(value)]
        if isinstance(value, Input):
            return _made(make, value.shape, value.dtype)
        if is_shape(value):
            return _made(make, tuple(map(int, value)), floating)
        if isinstance(value, Mapping):
            return {key: build(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return type(value)(build(item) for item in value) if not hasattr(value, "_fields") else value
        return value  # a flag, a number, None, or an object of the model's own

    if isinstance(inputs, Mapping):
        if not all(isinstance(key, str) for key in inputs):
            raise InputError(f"a dict of inputs is keyword arguments by name, its keys are {list(inputs)}")
        return [], build(inputs)
    if isinstance(inputs, (torch.Tensor, Input)) or is_shape(inputs):
        return [build(inputs)], {}
    if isinstance(inputs, (tuple, list)):
        if inputs and all(isinstance(item, Number) for item in inputs):
            raise InputError(f"a shape is a tuple of non-negative integers, not {tuple(inputs)}")
        return [build(item) for item in inputs], {}
    raise InputError(
        f"inputs must be a shape such as (1, 3, 224, 224), a tensor, a costmodel.Input, a tuple or list of those, or a "
        f"dict of keyword inputs; got {type(inputs).__name__}: {inputs!r}"
    )


def _made(make: Make, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    try:
        return make(shape, dtype)
    except (TypeError, RuntimeError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"torch makes no {dtype} tensor of shape {shape}: {reason}. A tensor has fewer than 2**63 bytes, and in a "
            f"real run must fit into memory: pass a smaller shape"
        ) from error


def default_inputs(model: nn.Module) -> Any:
    """The inputs that a model itself names: ``example_inputs``, timm's ``default_cfg``, a transformers config."""
    given = getattr(model, "example_inputs", None)
    if given is not None:
        return given
    timm = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    size = timm.get("input_size") if isinstance(timm, Mapping) else None
    if size is not None:
        return (1, *size)
    if hasattr(getattr(model, "config", None), "model_type"):
        return _of_transformers(model)
    raise InputError(
        f"{type(model).__name__} does not say what it takes (no example_inputs, no timm default_cfg, no transformers "
        f"config): pass inputs, for example costmodel.profile(model, (1, 3, 224, 224))"
    )


def _of_transformers(model: Any) -> dict[str, Any]:
    """Inputs for a transformers model: each tensor that its forward cannot do without, by the sizes in its config."""
    config: Any = model.config
    main = getattr(model, "main_input_name", "input_ids")
    wanted = [main]
    if hasattr(config, "vision_config") and hasattr(config, "text_config"):
        wanted += ["pixel_values", "input_ids"]
    if getattr(config, "is_encoder_decoder", False):
        wanted.append("decoder_input_ids")
    taken = inspect.signature(model.forward).parameters
    return {name: _of_modality(name, config) for name in wanted if name in taken}


def _of_modality(name: str, config: Any) -> Any:
    if name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", 224)
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        return (1, getattr(vision, "num_channels", 3), height, width)
    if name == "input_values":
        return (1, _SECOND)
    if name == "input_features":  # a spectrogram; Whisper's encoder halves its length
        positions = getattr(config, "max_source_positions", 1500)
        return (1, getattr(config, "num_mel_bins", 80), 2 * positions)
    text = getattr(config, "text_config", config)
    return Input((1, min(getattr(text, "max_position_embeddings", None) or _TOKENS, _TOKENS)), torch.int64)


_TOKENS = 128
"""Tokens of a text, where the model takes so many."""
_SECOND = 16000
"""Samples of a second of speech, as speech models take it."""
