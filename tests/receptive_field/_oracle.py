"""The receptive field by its definition: poison input positions, run the real network, and see what turns NaN."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from typing import Any

import torch
from torch import nn

from costmodel import profile
from costmodel.receptive_field import Fields

Found = dict[str, list[torch.Tensor]]
"""For each layer, for each spatial axis of the input: (input position, *output position without batch), what is NaN."""


def poisoned(model: nn.Module, shape: tuple[int, ...], names: Collection[str] | None = None) -> Found:
    """Which output elements of each layer each input slab (one position of one axis, all else of it) influences.

    The slabs of one axis are the samples of a batch, so that one forward finds them all.
    """
    found: Found = {}
    modules = dict(model.named_modules())
    torch.manual_seed(0)
    for axis in range(2, len(shape)):
        x = torch.rand(shape[axis], *shape[1:])
        for p in range(shape[axis]):
            x[p].select(axis - 1, p).fill_(torch.nan)
        hooks = [
            modules[name].register_forward_hook(
                lambda m, i, y, name=name: found.setdefault(name, []).append(y.isnan().clone())
            )
            for name in (names if names is not None else [n for n, m in modules.items() if not list(m.children())])
        ]
        with torch.no_grad():
            model.eval()(x)
        for hook in hooks:
            hook.remove()
    return found


def is_finite(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether no layer makes infinities or NaN by itself (a maximum over nothing but padding does)."""
    finite = []
    hooks = [m.register_forward_hook(lambda m, i, y: finite.append(bool(y.isfinite().all()))) for m in model.modules()]
    torch.manual_seed(0)
    with torch.no_grad():
        model.eval()(torch.rand(2, *shape[1:]))
    for hook in hooks:
        hook.remove()
    return all(finite)


def check(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    names: Collection[str] | None = None,
    at_most: int = 6,
    fields: Fields | None = None,
) -> int:
    """Holds ``seen`` at every layer to what the poison finds; returns how many positions were compared."""
    fields = fields or Fields(profile(model, shape).pricing)
    compared = 0
    for name, masks in poisoned(model, shape, names).items():
        dims = fields.dims(name)
        for position in spread([masks[0].shape[d] for d in dims], at_most):
            told = fields.at(name, position).seen
            assert told is not None
            for axis, mask in enumerate(masks):
                at: list[Any] = [slice(None)] * mask.dim()
                for d, p in zip(dims, position, strict=True):
                    at[d] = p
                hits = mask[tuple(at)].reshape(len(mask), -1).any(1).nonzero().flatten().tolist()
                expected = (hits[0], hits[-1]) if hits else None
                assert told[axis] == expected, f"{name} at {position}, axis {axis}: told {told[axis]}, found {expected}"
                compared += 1
    return compared


def spread(lengths: Sequence[int], at_most: int) -> list[tuple[int, ...]]:
    """Positions of a feature map, both ends of every axis among them."""
    each = [sorted({0, n - 1, *range(0, n, max(1, -(-n // max(at_most - 1, 1))))}) for n in lengths]
    return list(product(*each))
