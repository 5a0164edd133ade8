"""The networks of the papers, by name: `costmodel.models.mobilenet_v2(width=0.75)` is an ordinary `nn.Module`.

One file per family, with the paper's table as data at its top. A family, and torch with it, is imported when one of its
names is first asked for.
"""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from costmodel.errors import require_torch

from .printed._record import Published

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from costmodel.profiling import Profile
    from costmodel.quantities import Count

    from .alexnet import alexnet as alexnet
    from .closed import ClosedForm as ClosedForm
    from .closed import ClosedFormCheck as ClosedFormCheck
    from .efficientnet import efficientnet_b0 as efficientnet_b0
    from .efficientnet import efficientnet_b1 as efficientnet_b1
    from .efficientnet import efficientnet_b2 as efficientnet_b2
    from .efficientnet import efficientnet_b3 as efficientnet_b3
    from .efficientnet import efficientnet_b4 as efficientnet_b4
    from .efficientnet import efficientnet_b5 as efficientnet_b5
    from .efficientnet import efficientnet_b6 as efficientnet_b6
    from .efficientnet import efficientnet_b7 as efficientnet_b7
    from .efficientnet_v2 import efficientnet_v2_l as efficientnet_v2_l
    from .efficientnet_v2 import efficientnet_v2_m as efficientnet_v2_m
    from .efficientnet_v2 import efficientnet_v2_s as efficientnet_v2_s
    from .ghostnet import ghostnet as ghostnet
    from .googlenet import googlenet as googlenet
    from .hybridsn import hybridsn as hybridsn
    from .inception_v3 import inception_v3 as inception_v3
    from .inception_v4 import inception_v4 as inception_v4
    from .mobilenet_v1 import mobilenet_v1 as mobilenet_v1
    from .mobilenet_v1 import mobilenet_v1_cifar as mobilenet_v1_cifar
    from .mobilenet_v2 import mobilenet_v2 as mobilenet_v2
    from .mobilenet_v3 import mobilenet_v3_large as mobilenet_v3_large
    from .mobilenet_v3 import mobilenet_v3_small as mobilenet_v3_small
    from .resnet import resnet18 as resnet18
    from .resnet import resnet34 as resnet34
    from .resnet import resnet50 as resnet50
    from .resnet import resnet101 as resnet101
    from .resnet import resnet152 as resnet152
    from .resnext import resnext50_32x4d as resnext50_32x4d
    from .resnext import resnext101_32x4d as resnext101_32x4d
    from .resnext import resnext101_32x8d as resnext101_32x8d
    from .resnext import resnext101_64x4d as resnext101_64x4d
    from .se_resnet import se_resnet50 as se_resnet50
    from .shufflenet_v1 import shufflenet_v1 as shufflenet_v1
    from .shufflenet_v2 import shufflenet_v2 as shufflenet_v2
    from .vgg import vgg11 as vgg11
    from .vgg import vgg13 as vgg13
    from .vgg import vgg16 as vgg16
    from .vgg import vgg19 as vgg19
    from .xception import xception as xception

FAMILIES = {
    "alexnet": ("alexnet",),
    "vgg": ("vgg11", "vgg13", "vgg16", "vgg19"),
    "googlenet": ("googlenet",),
    "inception_v3": ("inception_v3",),
    "inception_v4": ("inception_v4",),
    "resnet": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "resnext": ("resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    "se_resnet": ("se_resnet50",),
    "xception": ("xception",),
    "mobilenet_v1": ("mobilenet_v1", "mobilenet_v1_cifar"),
    "mobilenet_v2": ("mobilenet_v2",),
    "mobilenet_v3": ("mobilenet_v3_large", "mobilenet_v3_small"),
    "shufflenet_v1": ("shufflenet_v1",),
    "shufflenet_v2": ("shufflenet_v2",),
    "efficientnet": tuple(f"efficientnet_b{i}" for i in range(8)),
    "efficientnet_v2": ("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
    "ghostnet": ("ghostnet",),
    "hybridsn": ("hybridsn",),
}
"""The networks' names by the file that defines them, in the order in which `list_models` gives them."""

_FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}

__all__ = ["FAMILIES", "Published", "build", "check_closed_form", "closed_form", "list_models", "published"]


def list_models() -> list[str]:
    """Every name that can be built, family by family. Imports nothing."""
    return list(_FAMILY_OF)


def build(name: str, **arguments: Any) -> nn.Module:
    """The network of this name, with random weights: `build("mobilenet_v2", width=0.75)`."""
    return _factory(name)(**arguments)


def closed_form(
    name: str, *, batch: Count = 1, mode: str = "eval", training: bool = False, **arguments: Any
) -> ClosedForm:
    """What a network costs by arithmetic on its paper's table alone: no module is built, and nothing is traced.

    The second derivation of a whole network, beside the trace of `build(name, **arguments)`, which it equals to the
    last integer: every layer and every operation between them, in the same order and under the same names.

    Args:
        name: one of `list_models()`.
        batch: images in the batch.
        mode: which forward, as for `costmodel.profile`; auxiliary classifiers run only in training.
        training: whether the backward pass counts, too: the forward is in train mode, as autograd runs it (max pools
            write indices), all parameters are learnt, the image needs no gradient, and there is neither loss nor
            update. `macs`, `flops` and `memory_access` are then sums of `forward_macs` and `backward_macs` and so on,
            and `saved_bytes` is what the forward keeps.
        arguments: those of `costmodel.models.NAME`, with the same defaults. `resolution` may also be a pair (height,
            width). `width`, `resolution`, `num_classes`, `batch`, and HybridSN's `window` and `bands`, take NumPy
            arrays too, which are broadcast against each other: one configuration per element. All of these but
            `width`, whose channels are rounded, take sympy symbols (declared `integer=True, positive=True`).

    Raises:
        InputError: no network has this name, or an argument's value does not fit it.
        SignatureError: the network has no argument of this name.

    >>> form = closed_form("mobilenet_v2", width=0.75, resolution=192)
    >>> form.params, form.macs, form.layers.shape
    (2636424, 153941888, (153, 10))
    >>> training = closed_form("resnet18", batch=2, training=True)
    >>> training.forward_macs, training.backward_macs, training.saved_bytes
    (3628146688, 7020265472, 44398080)
    """
    from costmodel.arguments import explained

    from .closed import closed_form as derive

    @explained
    def closed_form(name: str, **given: Any) -> ClosedForm:  # errors show what this is called with
        return derive(_family(name), name, **given)

    return closed_form(name, batch=batch, mode=mode, training=training, **arguments)


def check_closed_form(profile: Profile, name: str = "", **arguments: Any) -> ClosedFormCheck:
    """Holds a network's closed form against the profile of the same network, built and traced.

    Args:
        profile: the profile of `build(name, **arguments)`; batch, resolution and mode are those that it has.
        name: one of `list_models()`.
        arguments: those that the network was built with.

    Raises ``InputError`` for what is no such profile, and without a name.

    >>> from costmodel import profile
    >>> check_closed_form(profile(build("resnet18"), (2, 3, 96, 128)), "resnet18").ok
    True
    """
    from costmodel.arguments import short
    from costmodel.errors import InputError

    from .closed import check

    if not hasattr(profile, "pricing") or len(profile.inputs) != 1 or len(profile.inputs[0].shape) < 3:
        raise InputError(
            f"check_closed_form takes the Profile of a network on one batch of images, and its name, as in "
            f"check_closed_form(costmodel.profile('vgg16'), 'vgg16'), not {short(profile)}"
        )
    if name == "":
        raise InputError("check_closed_form needs the network's name: one of costmodel.models.list_models()")
    batch, _, *size = profile.inputs[0].shape
    if "window" not in signature(_factory(name)).parameters:
        arguments = {**arguments, "resolution": tuple(size)}
    return check(closed_form(name, batch=batch, mode=profile.mode, **arguments), profile)


def arguments(name: str) -> dict[str, Any]:
    """What a network takes by keyword, with the defaults. Torch is not imported.

    >>> arguments("mobilenet_v2")
    {'width': 1.0, 'resolution': 224, 'num_classes': 1000}
    """
    # Those of the closed form, which are the same.
    _, *parameters = signature(import_module(f".closed.{_family(name)}", __name__).NETWORKS[name]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def about(name: str) -> str:
    """What a network is, in a line: the first of its docstring, read off the file, which would import torch.

    >>> about("ghostnet")
    'GhostNet for x (n, 3, resolution, resolution).'
    """
    spec = find_spec(f"{__name__}.{_family(name)}")
    source = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin is not None else ""
    found = re.search(rf'^def {name}\(.*?"""(.*?)(?:"""|$)', source, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def published() -> tuple[Published, ...]:
    """What papers and libraries say of every network's parameters and MACs, family by family."""
    records: list[Published] = []
    for family in FAMILIES:
        records.extend(import_module(f".printed.{family}", __name__).PUBLISHED)
    return tuple(records)


@cache
def _factory_of(name: str) -> Callable[..., nn.Module]:
    require_torch(f"costmodel.models.{name}")
    factory: Callable[..., nn.Module] = getattr(import_module(f".{_family(name)}", __name__), name)
    from costmodel.arguments import explained

    return explained(factory, module=__name__)


def _factory(name: str) -> Callable[..., nn.Module]:
    _family(name)
    return _factory_of(name)


def _family(name: str) -> str:
    if not isinstance(name, str) or name not in _FAMILY_OF:
        from costmodel.errors import InputError

        raise InputError(_unknown(name))
    return _FAMILY_OF[name]


def _unknown(name: str) -> str:
    close = get_close_matches(name, _FAMILY_OF) if isinstance(name, str) else []
    hint = f"did you mean {' or '.join(close)}?" if close else "costmodel.models.list_models() has all names"
    return f"no model is called {name!r}; {hint}"


def __getattr__(name: str) -> Any:
    if name not in _FAMILY_OF:
        raise AttributeError(_unknown(name))
    return _factory(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FAMILY_OF})


class _Package(ModuleType):
    """This package. Importing `costmodel.models.alexnet`, the file, must not hide `alexnet`, the network.

    The import system would bind the file to that name; a name in `list_models()` stays the network's.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _FAMILY_OF):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
