"""The dtypes of a checkpoint in safetensors, from the files' headers: no tensor is read.

A file begins with the header's length, 8 bytes in little-endian order, and the header, JSON that has dtype, shape and
place of each tensor (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from costmodel.errors import LoadError

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Of tensors that parameters of a model may have; others are quantised, and packed in a way of their own."""


@dataclass(frozen=True)
class Checkpoint:
    """The dtypes of a folder's tensors."""

    by_name: Mapping[str, str]
    """Of each floating tensor."""
    usual: str | None
    """That of most elements; ``None`` where those are quantised."""


def checkpoint(folder: Path, text: str) -> Checkpoint | None:
    """The dtypes of the tensors in a folder's files, if it has such files."""
    by_name: dict[str, str] = {}
    elements: Counter[str] = Counter()
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in _header(path, text).items():
            if name == "__metadata__":
                continue
            elements[tensor["dtype"]] += prod(tensor["shape"])
            if tensor["dtype"] in _DTYPES:
                by_name[name] = _DTYPES[tensor["dtype"]]
    if not elements:
        return None
    (most, _), *_ = elements.most_common(1)
    return Checkpoint(by_name, _DTYPES.get(most))


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= path.stat().st_size - 8:
                raise ValueError(f"a header of {length} bytes in a file of {path.stat().st_size}")
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__" and not (
                isinstance(tensor["dtype"], str) and all(type(n) is int and n >= 0 for n in tensor["shape"])
            ):
                raise ValueError(f"the header's entry of {name} has no dtype and shape")
        return dict(header)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LoadError(f"{text!r}: {path} is no safetensors file: {error}") from error


def in_dtypes(model: Any, stored: Checkpoint) -> Any:
    """Gives each parameter and buffer the dtype of the stored tensor of its name.

    A checkpoint of a model with a head, or of the model inside one, has a prefix before the names or lacks one. Those
    that are not found under any name are in the dtype that most stored elements have.
    """
    import torch
    from torch import nn

    from costmodel.torch_private import registered_on

    prefix, by_name = f"{getattr(model, 'base_model_prefix', '')}.", stored.by_name
    cast: dict[int, torch.Tensor] = {}
    for of_module, module in model.named_modules():
        for registered in registered_on(module)[:2]:
            for name, tensor in registered.items():
                if tensor is None or not tensor.is_floating_point():
                    continue
                full = f"{of_module}.{name}".removeprefix(".")
                known = next(
                    (by_name[n] for n in (full, prefix + full, full.removeprefix(prefix)) if n in by_name), None
                )
                is_parameter = isinstance(tensor, nn.Parameter)
                dtype = known or (stored.usual if is_parameter else None)  # other buffers are computed, not stored
                if dtype is not None and id(tensor) not in cast:
                    other = tensor.detach().to(getattr(torch, dtype))
                    cast[id(tensor)] = nn.Parameter(other, tensor.requires_grad) if is_parameter else other
                registered[name] = cast.get(id(tensor), tensor)
    return model
