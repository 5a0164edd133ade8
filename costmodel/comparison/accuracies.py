"""Accuracies of ``torchvision:`` models: what torchvision states of its weights. Nothing is downloaded.

A cost and an accuracy belong together only where they are of one network at one size of input. So a model has the
figures of the weights with as many parameters as it has, evaluated at the size that it was profiled at: those that
torchvision calls the default, if they are such, or the newest ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from costmodel.loading import parse
from costmodel.measures import Number
from costmodel.metrics import Metric

if TYPE_CHECKING:
    from costmodel.profiling import Profile

_SAME_FUNCTION = frozenset({"aux_logits", "aux_loss", "image_size", "num_classes"})
"""Arguments that fit weights wherever sizes and parameters do; any other may make another network of the same size."""

_LOWER = frozenset({"epe", "per_image_epe", "fl_all"})
"""Of torchvision's figures those of which the lowest is the best: errors of optical flow."""


def accuracies(models: Mapping[str, Any], profiles: Mapping[str, Profile], *, own_inputs: bool) -> dict[str, Metric]:
    """The columns that torchvision states figures for: ``ImageNet-1K acc@1`` and its like.

    Args:
        models: what was profiled, by name; only specs such as ``"torchvision:resnet50"`` have known weights.
        profiles: the profiles, by the same names.
        own_inputs: whether the inputs are those that the models are evaluated on, which weights do not always say.
    """
    stated = {row: _stated(models[row], p, own_inputs=own_inputs) for row, p in profiles.items()}
    names = {name: None for _, figures in stated.values() for name in figures}
    if not names:
        return {}
    means = f"as torchvision {version('torchvision')} states of its weights"
    sources = {row: weights for row, (weights, _) in stated.items() if weights}
    return {
        name: Metric(
            name, {row: figures.get(name) for row, (_, figures) in stated.items()},
            better="lower" if name.rpartition(" ")[2] in _LOWER else "higher", means=means,
            sources={row: sources[row] for row, (_, figures) in stated.items() if name in figures},
            priority=3 if at else 8, is_asked=False,
        )
        for at, name in enumerate(names)
    }  # fmt: skip


def _stated(model: Any, p: Profile, *, own_inputs: bool) -> tuple[str, dict[str, Number]]:
    """The weights that fit a model, and their figures by name; nothing, where none fit."""
    if not isinstance(model, str) or not model.startswith("torchvision:"):
        return "", {}
    from torchvision.models import get_model_weights

    spec = parse(model)
    if spec.args or not _SAME_FUNCTION.issuperset(spec.kwargs or ()):
        return "", {}
    known = get_model_weights(spec.name)
    for weights in (known.DEFAULT, *reversed(known)):
        if _fits(weights, p, own_inputs=own_inputs):
            metrics = weights.meta.get("_metrics") or {}
            return weights.name, {f"{on} {name}": n for on, figures in metrics.items() for name, n in figures.items()}
    return "", {}


def _fits(weights: Any, p: Profile, *, own_inputs: bool) -> bool:
    if weights.meta.get("num_params") not in _parameters(p):
        return False
    crop = getattr(weights.transforms, "keywords", {}).get("crop_size")
    if crop is None:
        return own_inputs
    size = tuple(crop) if isinstance(crop, tuple | list) else (crop, crop)
    return p.inputs[0].shape[-2:] == size


def _parameters(p: Profile) -> set[int]:
    """How many parameters a model's weights may have.

    All; those that are used, where the weights have no auxiliary classifiers; or all but those of batch norms, which
    detectors with weights hold as buffers.
    """
    rows = zip(p.pricing.layers, p.figures("params"), strict=True)
    return {p.params, p.active_params, p.params - int(sum(n for layer, n in rows if layer.type == "BatchNorm2d"))}
