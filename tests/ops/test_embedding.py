"""Embeddings: what is looked up, and what bags of rows cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import record, traffic, work


@given(shape=st.lists(st.integers(1, 4), max_size=3), width=st.integers(1, 5))
@settings(max_examples=30)
def test_an_embedding_reads_one_row_for_each_index(shape: list[int], width: int) -> None:
    """Indices of 8 bytes and a row each are read, and the rows written; the rest of the table is left alone."""
    indices, table = torch.zeros(shape, dtype=torch.int64), torch.rand(100, width)
    n = indices.numel()
    assert work("aten.embedding.default", weight=table, indices=indices) == Work()
    expected = Traffic(
        read=n + n * width, written=n * width, read_bytes=8 * n + 4 * n * width, written_bytes=4 * n * width
    )
    assert traffic("aten.embedding.default", weight=table, indices=indices) == expected


BAGS = {"weight": torch.rand(10, 4), "indices": torch.tensor([1, 2, 3, 4, 5, 6, 7]), "offsets": torch.tensor([0, 2, 4])}


@pytest.mark.parametrize("target", ["aten._embedding_bag.default", "aten._embedding_bag_forward_only.default"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Bags of 2, 2 and 3 rows of 4 features: 1 + 1 + 2 further rows of 4.
        ({"mode": 0}, Work(adds=16)),
        ({"mode": 1}, Work(adds=16, divides=12)),
        ({"mode": 2}, Work(compares=16)),
        ({"mode": 0, "per_sample_weights": torch.rand(7)}, Work(adds=16, multiplies=28)),
        # The last offset ends the second bag: 2 and 2 rows, or so torch says; 7 indices in 2 bags are 5 further rows.
        ({"mode": 0, "include_last_offset": True}, Work(adds=20)),
    ],
)
def test_a_bag_combines_its_rows(target: str, options: dict[str, Any], expected: Work) -> None:
    """A bag of k rows is combined in k - 1 steps a feature; a mean divides, weights multiply."""
    positional = {"scale_grad_by_freq": False, "mode": 0, "sparse": False, "per_sample_weights": None}
    assert work(target, **BAGS, **positional | options) == expected


def test_a_bag_s_traffic() -> None:
    """7 indices and 3 offsets of 8 bytes, 7 rows of 4 features; 3 rows written, the bookkeeping not counted."""
    expected = Traffic(read=7 + 3 + 28, written=12, read_bytes=80 + 112, written_bytes=48)
    assert traffic("aten._embedding_bag.default", **BAGS) == expected


@pytest.mark.parametrize("padding_idx", [-1, 0, 3])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_only_a_plain_sum_knows_no_bag_of_each_index(mode: int, padding_idx: int) -> None:
    """As torch's quickest kernel does without; else each index's bag is filled in, with one place to spare."""
    call = record("aten._embedding_bag.default", **BAGS, mode=mode, padding_idx=padding_idx)
    plain = mode == 0 and padding_idx < 0
    assert call.outputs[1].shape == ((0,) if plain else (7,))
    spare = [t for t in RULES[call.op].temporaries(call.args) if t.shape == (1,)]
    assert len(spare) == (0 if plain else 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_an_index_reads_what_it_writes(dtype: torch.dtype) -> None:
    """The indices, and of the table as many elements as there are in the result, in the table's dtype."""
    table = torch.zeros(6, 4, dtype=dtype)
    rows, size = torch.tensor([0, 2, 5]), dtype.itemsize
    expected = Traffic(read=3 + 12, written=12, read_bytes=3 * 8 + 12 * size, written_bytes=12 * size)
    assert traffic("aten.index.Tensor", self=table, indices=[rows]) == expected
    assert traffic("aten.index_select.default", self=table, dim=0, index=rows) == expected
