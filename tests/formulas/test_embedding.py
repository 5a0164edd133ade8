"""Embeddings whose rows are kept short, and bags with offsets and weights: their definitions run slowly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from costmodel import formulas as f
from costmodel.quantities import Work
from tests.formulas.oracles import Number, Tally, values


def norm(row: list[Number], order: float) -> Number:
    """The norm of a row of positive numbers."""
    tally = row[0].tally
    if order == math.inf:
        top = row[0]
        for x in row[1:]:
            top = tally.larger(top, x)
        return top
    if order == 1:
        return tally.total(row)
    if order == 2:
        return tally.call(math.sqrt, tally.total([x * x for x in row]))
    return tally.call(lambda s: s ** (1 / order), tally.total([tally.call(lambda v: v**order, x) for x in row]))


@pytest.mark.parametrize("order", [2, 1, 3, 0.5, math.inf])
def test_rows_that_are_too_long_are_scaled(order: float) -> None:
    """Of 6 rows looked up, each another and each too long: the work, and the table that torch leaves behind."""
    rows, width = 6, 5
    layer = nn.Embedding(rows, width, max_norm=1e-3, norm_type=order).double().requires_grad_(False)
    torch.nn.init.uniform_(layer.weight, 1, 2)
    tally = Tally()
    table = [tally.numbers(row) for row in layer.weight.clone()]
    scaled = []
    for row in table:
        length = norm(row, order)
        assert tally.above(length, 1e-3)
        factor = 1e-3 / (length + 1e-7)
        scaled.append(values([x * factor for x in row]))
    layer(torch.arange(rows))
    assert torch.allclose(torch.stack(scaled), layer.weight)
    at = {"num_embeddings": rows, "embedding_dim": width, "shape": rows}
    plain, cost = f.embedding(**at), f.embedding(**at, renormalised=True, norm_type=order)
    assert plain.work == Work()
    assert cost.work == tally.work
    # The kernel before reads 6 indices, and reads and writes 6 rows of 5.
    assert cost.memory_access - plain.memory_access == 6 + 30 + 30
    assert cost.params == plain.params == 30
    assert cost.output_shape == (6, 5)


def test_no_more_rows_are_scaled_than_the_table_has() -> None:
    """100 indices into 3 rows of 2: 3 norms of 2 products, a sum and a root; 3 times 3 operations, and 6 products."""
    cost = f.embedding(num_embeddings=3, embedding_dim=2, shape=(10, 10), renormalised=True)
    assert cost.work == Work(multiplies=6 + 6, adds=3 + 3, transcendentals=3, compares=3, divides=3)
    assert cost.memory_access == (100 + 6 + 6) + (100 + 200 + 200)


def test_a_table_of_complex_numbers_is_scaled_by_a_complex_factor() -> None:
    """3 rows of 2: a norm of 4 parts, 1 comparison, addition and division, 2 products of 6 operations."""
    at = {"num_embeddings": 3, "embedding_dim": 2, "shape": 3, "renormalised": True}
    assert f.embedding(**at, complex_valued=True).flops == 3 * ((4 + 3 + 1) + 3 + 2 * 6)
    # Other norms are of the absolute values, of 4 operations each; order 0 compares both parts with 0.
    assert f.embedding(**at, complex_valued=True, norm_type=1).flops == 3 * ((2 * 4 + 1) + 3 + 2 * 6)
    assert f.embedding(**at, complex_valued=True, norm_type=0).flops == 3 * ((4 + 1) + 3 + 2 * 6)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("weighted", [True, False])
def test_bags_of_different_sizes_fold_their_rows(mode: str, weighted: bool) -> None:
    """Bags of 1, 3 and 2 indices: the work, and the values of torch's own module."""
    if weighted and mode != "sum":
        return  # torch weights sums alone
    layer = nn.EmbeddingBag(9, 4, mode=mode).double().requires_grad_(False)
    indices, offsets = torch.tensor([5, 1, 2, 8, 0, 3]), torch.tensor([0, 1, 4])
    weights = torch.rand(6, dtype=torch.float64) if weighted else None
    tally = Tally()
    bags = []
    for start, end in ((0, 1), (1, 4), (4, 6)):
        rows = [tally.numbers(layer.weight[indices[at]]) for at in range(start, end)]
        if weights is not None:
            rows = [[x * weights[start + at].item() for x in row] for at, row in enumerate(rows)]
        folded = rows[0]
        for row in rows[1:]:
            if mode == "max":
                folded = [tally.larger(a, b) for a, b in zip(folded, row, strict=True)]
            else:
                folded = [a + b for a, b in zip(folded, row, strict=True)]
        bags.append(values([x / (end - start) for x in folded] if mode == "mean" else folded))
    assert torch.allclose(torch.stack(bags), layer(indices, offsets, weights))
    at = {"num_embeddings": 9, "embedding_dim": 4, "bags": 3, "indices": 6, "mode": mode, "weighted": weighted}
    cost = f.embedding_bag(**at)
    assert cost.work == tally.work
    assert cost.read == 6 + 3 + 24 + (6 if weighted else 0)
    assert cost.written == 12
    assert f.embedding_bag(**at, include_last_offset=True).read == cost.read + 1


def test_renormalised_bags_are_renormalised_first() -> None:
    """As an embedding of the same indices: 6 indices of 4 numbers, each row another."""
    bag = {"num_embeddings": 9, "embedding_dim": 4, "bags": 3, "bag_size": 2}
    alone = {"num_embeddings": 9, "embedding_dim": 4, "shape": (3, 2)}
    plain, short = f.embedding_bag(**bag), f.embedding_bag(**bag, renormalised=True, norm_type=1)
    assert short.flops - plain.flops == f.embedding(**alone, renormalised=True, norm_type=1).flops == 6 * (3 + 3 + 4)
    assert short.memory_access - plain.memory_access == 6 + 24 + 24


def test_bags_need_their_size_or_all_indices() -> None:
    """One of the two says how many indices there are."""
    for wrong in ({}, {"bag_size": 2, "indices": 6}):
        with pytest.raises(ValueError, match="give either bag_size"):
            f.embedding_bag(num_embeddings=9, embedding_dim=4, bags=3, **wrong)
