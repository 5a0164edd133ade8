"""Networks by name: this library's own, torchvision's and timm's."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from costmodel.errors import LoadError
from costmodel.loading.building import Context, call_factory, package, refuse_weights
from costmodel.loading.spec import Spec, hint, how_to_name


def own(spec: Spec, text: str, context: Context) -> Any:
    """A network of ``costmodel.models``."""
    models = importlib.import_module("costmodel.models")
    names = models.list_models()
    if spec.name not in names:
        of_file = {".json": f"hf:{spec.name}", ".py": f"{spec.name}:factory"}.get(Path(spec.name).suffix)
        remedy = f"; did you mean {of_file}?" if of_file else hint(spec.name, names) or f". {how_to_name()}"
        raise LoadError(f"no model is called {spec.name!r}{remedy}")
    return call_factory(getattr(models, spec.name), spec, text, context=context)


def from_torchvision(spec: Spec, text: str, context: Context) -> Any:
    """``torchvision:NAME``, with the input that it is evaluated on."""
    from costmodel.default_inputs import torchvision

    models = package("torchvision.models", "torchvision")
    names = models.list_models()
    if spec.name not in names:
        raise LoadError(f"torchvision has no model {spec.name!r}{hint(spec.name, names, 'torchvision:')}")
    refuse_weights(spec, text)
    builder = models.get_model_builder(spec.name)
    defaults: dict[str, Any] = {
        k: None for k in ("weights", "weights_backbone") if k in inspect.signature(builder).parameters
    }
    if spec.name in ("googlenet", "inception_v3"):
        defaults["init_weights"] = False  # truncated normals take minutes, and change no cost
    model = call_factory(builder, spec, text, defaults, context)
    if getattr(model, "example_inputs", None) is None:
        model.example_inputs = torchvision.inputs(models, spec.name, builder, model)
    return model


def from_timm(spec: Spec, text: str, context: Context) -> Any:
    """``timm:NAME``; timm's models say themselves what they take."""
    timm = package("timm", "timm")
    names = timm.list_models()
    if not timm.is_model(spec.name.split(".")[0]):
        raise LoadError(f"timm has no model {spec.name!r}{hint(spec.name, names, 'timm:')}")
    refuse_weights(spec, text)
    # A tag, as in name.tag, selects weights; the architecture does not depend on it.
    untagged = Spec(spec.scheme, "", spec.name, (spec.name.split(".")[0],), spec.kwargs)
    return call_factory(timm.create_model, untagged, text, {"pretrained": False}, context)
