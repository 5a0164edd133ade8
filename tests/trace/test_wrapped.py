"""Parameters that are made of other tensors: quantised weights of torchao and of other libraries."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map

import costmodel
from costmodel.trace.wrapped import plain_tensors

aten = torch.ops.aten


class Quantised(torch.Tensor):
    """A weight of 8 bits with a scale for each row, and operations for it: what libraries do, in few lines."""

    q: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def __new__(cls, q: torch.Tensor, scale: torch.Tensor) -> Quantised:
        made = torch.Tensor._make_wrapper_subclass(cls, q.shape, dtype=scale.dtype)
        made.q, made.scale = q, scale
        return made

    @classmethod
    def of(cls, weight: torch.Tensor) -> nn.Parameter:
        """The parameter that stands for a weight."""
        scale = weight.detach().abs().amax(1, keepdim=True) / 127
        return nn.Parameter(cls((weight.detach() / scale).round().to(torch.int8), scale), requires_grad=False)

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["q", "scale"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, torch.Tensor], *_: Any) -> Quantised:
        return Quantised(inner["q"], inner["scale"])

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.t.default:
            return cls(args[0].q.t(), args[0].scale.t())
        if func in (aten.detach.default, aten.alias.default):
            return cls(args[0].q, args[0].scale)
        if func is aten.addmm.default:
            bias, x, w = args
            return torch.mm(x, w.q.to(x.dtype)) * w.scale + bias
        if func is aten.mm.default:
            x, w = args
            return torch.mm(x, w.q.to(x.dtype)) * w.scale
        dense = lambda t: t.q * t.scale if isinstance(t, cls) else t  # noqa: E731
        return func(*tree_map(dense, args), **tree_map(dense, kwargs or {}))


def quantised(bias: bool = True) -> nn.Module:
    """Two linear layers, of which the first has a quantised weight."""
    model = nn.Sequential(nn.Linear(16, 8, bias=bias), nn.ReLU(), nn.Linear(8, 4)).eval()
    model[0].weight = Quantised.of(model[0].weight)
    return model


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_quantised_weight(execution: Any, bias: bool) -> None:
    """It counts as the elements that it stands for, and as the bytes that it takes; its class's own ops are seen."""
    p = costmodel.profile(quantised(bias), (3, 16), execution=execution)
    assert p.is_exact
    assert p.macs == 3 * 16 * 8 + 3 * 8 * 4
    assert p.params == 16 * 8 + 8 * bias + 36
    assert p.total("params_bytes") == 16 * 8 + 8 * 4 + 4 * (8 * bias + 36)
    # The weight as floats, the product, times the scales, plus the bias.
    ops = ["t", "t", "_to_copy", "mm", "mul", *["add"] * bias, "relu", "linear"]
    assert [op.split(".")[1] for op in p.ops["op"]] == ops
    # Product, scales and ReLU, then a linear layer with a bias.
    assert p.flops == 2 * p.macs + 3 * (8 + 8 * bias) + 3 * 8 + 3 * 4


def test_it_is_read_by_the_ops_that_read_what_it_is_made_of() -> None:
    """So it is active; and it belongs to the layer, whose ops read its 8 bits."""
    p = costmodel.profile(quantised(), (3, 16))
    assert p.total("active_params") == p.params
    assert p.layers["params"].tolist() == [16 * 8 + 8, 0, 36]
    assert p.layers["params_bytes"].tolist() == [16 * 8 + 8 * 4 + 8 * 4, 0, 4 * 36]
    cast = p.ops[p.ops["op"].str.contains("_to_copy")].iloc[0]
    assert cast["memory_access_bytes"] == 16 * 8 + 4 * 16 * 8


def test_the_closed_form_is_that_of_the_product() -> None:
    """Shape, parameters and MACs are derived twice; what dequantises a weight only its class knows."""
    found = costmodel.crosscheck(quantised(), (3, 16))
    assert found.ok
    assert found.checked == 3
    first = found.rows[found.rows["name"] == "0"]
    assert first["quantity"].tolist() == ["output shape", "params", "macs"]
    assert first["closed_form"].tolist() == [(3, 8), 136, 384]


def test_bytes_are_in_what_is_saved(tmp_path: Path) -> None:
    """JSON and pickles keep them."""
    p = costmodel.profile(quantised(), (3, 16))
    p.save(tmp_path / "p.json")
    for again in (costmodel.read_json(tmp_path / "p.json"), pickle.loads(pickle.dumps(p))):
        assert again.total("params_bytes") == p.total("params_bytes") == 336
        assert again.crosscheck().ok


def test_the_model_is_as_it_was() -> None:
    """After a profile the parameter is the same object, of the same tensors."""
    model = quantised()
    before = model[0].weight
    inside = before.q, before.scale
    costmodel.profile(model, (3, 16))
    costmodel.profile(model, (3, 16), execution="real")
    assert model[0].weight is before
    assert before.q is inside[0]
    assert before.scale is inside[1]


class Nested(Quantised):
    """A wrapper of a wrapper."""

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["q", "scale", "absent"], None


def test_wrappers_inside_wrappers() -> None:
    """The plain tensors at any depth are those that are stored; a name that holds none is passed over."""
    q, scale = torch.zeros(4, 2, dtype=torch.int8), torch.ones(4, 1)
    outer = Nested(Quantised(q, scale), scale)
    assert [id(t) for t in plain_tensors(outer)] == [id(q), id(scale), id(scale)]
