"""Builds the model that a spec string names: ``mobilenet_v1(width=0.5)``, ``torchvision:resnet50``, ``my.py:factory``.

Weights are never downloaded: a network's costs do not depend on them. One file for each kind of name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from costmodel.errors import ForwardError, LoadError, NeedsValuesError, require_torch
from costmodel.loading.building import Context, is_model
from costmodel.loading.code import from_file, from_module, function, import_code
from costmodel.loading.libraries import from_timm, from_torchvision, own
from costmodel.loading.meta import on_meta
from costmodel.loading.saved import from_saved
from costmodel.loading.spec import EXAMPLES, Spec, parse
from costmodel.loading.transformers import from_transformers, with_head
from costmodel.machine import available_memory

if TYPE_CHECKING:
    from torch import nn

__all__ = ["EXAMPLES", "Spec", "apply", "function", "import_code", "language_model", "load", "on_meta", "parse"]

Result = TypeVar("Result")


def load(spec: str, *, weights: bool = True) -> nn.Module:
    """Builds the model that a spec string names, with random weights; nothing is downloaded.

    ``costmodel.profile(load(spec))`` needs no inputs where the model states its own (``example_inputs``,
    ``default_cfg``, ``config``), as the library's networks and those of torchvision, timm and transformers do.

    Args:
        spec: a name of ``costmodel.models.list_models()``; ``torchvision:NAME``; ``timm:NAME``; ``hf:`` and a model
            type, a config.json or a folder that has one, with the dtypes of the .safetensors in it; an exported
            program's .pt2; a TorchScript archive's .pt, .pth or .ts; ``package.module:factory``;
            ``path/to/file.py:factory``. Arguments follow in parentheses, as Python literals. The last two import the
            module or the file and call the factory: they run that code, so name none that you do not trust. ``hf:``
            runs transformers' code alone.
        weights: ``False`` builds a library's network on torch's meta device, which takes no time and no memory for
            weights: it can be profiled, and cannot be run. A model that cannot be built there has weights all the
            same, and so has one from a module or file of yours, whose code runs as it is written.

    Raises ``LoadError`` for a spec that names nothing that can be built.

    >>> load("mobilenet_v1(width=0.5)").example_inputs
    (1, 3, 224, 224)
    """
    if not isinstance(spec, str):
        raise LoadError(f"a spec is a string such as {EXAMPLES[0]!r}, not {type(spec).__name__}")
    require_torch(repr(spec))
    model: nn.Module = _build(parse(spec), spec, weights=weights)
    if not is_model(model):
        raise LoadError(
            f"{spec!r} gave {type(model).__name__}, not a torch.nn.Module: name a factory or a module class"
        )
    return model


def language_model(spec: str) -> nn.Module:
    """A spec's model without weights; of ``hf:`` and a type, which is without a head, the one that makes tokens."""
    model = load(spec, weights=False)
    if parse(spec).scheme != "hf":
        return model
    made: nn.Module = with_head(model, spec, _on_meta)
    return made


_QUICKLY_BUILT = 1 << 30
"""Bytes of weights that are built to see whether a forward which fails without values fails with them, too."""


def apply(function: Callable[[nn.Module], Result], spec: str, *, weights: bool = False) -> Result:
    """Calls a function on a spec's model: one without weights, and one with them if it fails without values."""
    model = load(spec, weights=weights)
    try:
        return function(model)
    except (NeedsValuesError, ForwardError) as error:
        tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}.values()
        if not any(tensor.is_meta for tensor in tensors):
            raise
        needed, available = sum(tensor.nbytes for tensor in tensors), available_memory()
        if isinstance(error, ForwardError) and needed > min(available, _QUICKLY_BUILT):
            raise ForwardError(
                f"{error} It was not tried with weights, which take {needed / 2**30:.1f} GiB and time: "
                f"costmodel.profile(costmodel.load({spec!r})) does"
            ) from error
        if needed > available:
            raise NeedsValuesError(
                f"{error}. For its values {spec} must be built with its weights, {needed / 2**30:.1f} GiB of the "
                f"{available / 2**30:.1f} GiB of memory that are free here: give it smaller sizes as arguments"
            ) from error
    return function(load(spec))


def _build(spec: Spec, text: str, *, weights: bool) -> Any:
    if not weights:
        # A constructor may read a value, as NumPy and item() do. Any other error is raised again below.
        with suppress(LoadError):
            return _BUILDERS[spec.scheme](spec, text, _on_meta)
    return _BUILDERS[spec.scheme](spec, text, nullcontext)


def _on_meta() -> AbstractContextManager[object]:
    from torch import device

    return device("meta")


_BUILDERS: Mapping[str, Callable[[Spec, str, Context], Any]] = {
    "": own, "torchvision": from_torchvision, "timm": from_timm, "hf": from_transformers, "file": from_file,
    "module": from_module, "saved": from_saved,
}  # fmt: skip
