"""Inputs of torchvision's models: those that they are evaluated on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def inputs(models: Any, name: str, builder: Callable[..., Any], model: Any) -> Any:
    """The input that the model is evaluated on, from its weights' description; no weights are loaded for it.

    A transformer takes the one size of image that it is built for, and its best weights may be those of another.
    """
    family = builder.__module__.removeprefix("torchvision.models.").partition(".")[0]
    if family == "detection":
        return ([(3, 800, 800)],)  # a list of images, each (channels, height, width)
    if family == "optical_flow":
        return ((1, 3, 520, 960), (1, 3, 520, 960))  # two frames
    transforms = models.get_model_weights(name).DEFAULT.transforms
    crop = getattr(transforms, "keywords", {}).get("crop_size", 520 if family == "segmentation" else 224)
    crop = getattr(model, "image_size", crop)
    size = tuple(crop) if isinstance(crop, (tuple, list)) else (crop, crop)
    return (1, 3, 16, *size) if family == "video" else (1, 3, *size)
