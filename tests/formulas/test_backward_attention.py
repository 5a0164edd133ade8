"""Backward passes of attention, held to what torch runs and keeps on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from costmodel import formulas as f
from costmodel.errors import InputError
from tests.formulas._backward import assert_same_on_arrays_and_symbols, needs, quantities, real
from tests.formulas.test_backward_layers import rand

SIZES = {"heads": 4, "queries": 5, "keys": 7, "head_dim": 8, "batch": 2}


def inputs(kv_heads: int = 4, width: int = 8) -> list[torch.Tensor]:
    """Queries, keys and values."""
    return [rand(2, 4, 5, 8), rand(2, kv_heads, 7, 8), rand(2, kv_heads, 7, width)]


@pytest.mark.parametrize("wanted", needs(3), ids=str)
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("mask", [None, "float", "bool"])
def test_the_fused_kernel_computes_the_scores_again(mask: str | None, kv_heads: int, wanted: dict[str, Any]) -> None:
    """Five products, of which it does all, whatever is asked for."""
    cost = f.scaled_dot_product_attention(**SIZES, kv_heads=kv_heads, mask=mask)
    given = inputs(kv_heads)
    if mask is not None:
        given.append(rand(5, 7) if mask == "float" else rand(5, 7) > 0.1)
        wanted = {**wanted, "inputs": (*wanted["inputs"], False)}
    found = real(
        lambda q, k, v, m=None: F.scaled_dot_product_attention(q, k, v, m, enable_gqa=kv_heads != 4),
        given,
        wanted=wanted,
    )
    assert quantities(cost.backward(**wanted)) == found.quantities()
    assert cost.backward(**wanted).macs == 2 * 4 * 5 * 7 * 5 * 8


@pytest.mark.parametrize("wanted", needs(3), ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("width", [8, 3])
def test_four_products_where_the_weights_are_kept(width: int, dropout: float, wanted: dict[str, Any]) -> None:
    """Torch's composite of products, which is what runs with dropout and where values have another width."""
    cost = f.scaled_dot_product_attention(
        **SIZES, value_dim=width, training=True, dropout_p=dropout, recompute=False
    ).backward(**wanted)
    with sdpa_kernel(SDPBackend.MATH):
        found = real(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=dropout), inputs(width=width),
            wanted=wanted,
        )  # fmt: skip
    assert quantities(cost) == found.quantities()
    if all(wanted["inputs"]):
        assert cost.macs == 2 * 4 * 5 * 7 * (2 * 8 + 2 * width)


def test_torch_chooses() -> None:
    """By default it is as torch does on the CPU."""
    for width, p in ((8, 0.0), (3, 0.0), (8, 0.1)):
        cost = f.scaled_dot_product_attention(**SIZES, value_dim=width, training=True, dropout_p=p).backward()
        found = real(
            lambda q, k, v, p=p: F.scaled_dot_product_attention(q, k, v, dropout_p=p), inputs(width=width),
            wanted={"inputs": True, "weight": True, "bias": True},
        )  # fmt: skip
        assert quantities(cost) == found.quantities()


def test_weights_that_were_drawn_are_kept() -> None:
    """They are not drawn again."""
    with pytest.raises(InputError, match="recompute=True does not draw the same weights again"):
        f.scaled_dot_product_attention(**SIZES, training=True, dropout_p=0.1, recompute=True)


@pytest.mark.parametrize("recompute", [True, False])
def test_arrays_and_symbols(recompute: bool) -> None:
    """Backward passes are functions of counts, whatever those are."""
    arguments = {**SIZES, "mask": "float", "recompute": recompute}
    assert_same_on_arrays_and_symbols(f.scaled_dot_product_attention, arguments, {"inputs": True})
