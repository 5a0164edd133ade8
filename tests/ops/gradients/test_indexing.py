"""Gradients of embeddings: their definitions as loops over numbers that count, whose results are torch's."""

from __future__ import annotations

from typing import Any

import torch

from costmodel.quantities import Work
from tests.ops._asking import work


def test_embeddings() -> None:
    """Each gradient is added to its row; in a bag every row gets the bag's, and a weight is a dot product."""
    g, rows = torch.rand(3, 4), torch.tensor([1, 0, 1])
    given: dict[str, Any] = {"grad_output": g, "indices": rows, "num_weights": 5, "padding_idx": -1}
    name = "aten.embedding_dense_backward.default"
    assert work(name, **given, scale_grad_by_freq=False) == Work(adds=12)
    assert work(name, **given, scale_grad_by_freq=True) == Work(adds=12, divides=12)
    table, indices, offsets, weights = torch.rand(5, 4), torch.tensor([0, 1, 2, 3]), torch.tensor([0, 3]), torch.rand(4)
    bags: dict[str, Any] = {"num_weights": 5, "scale_grad_by_freq": False}
    name = "aten._embedding_bag_dense_backward.default"
    for mode, expected in ((0, Work(adds=16)), (1, Work(adds=16, divides=16)), (2, Work(adds=8))):
        _, bag_of, size, most = torch._embedding_bag(table, indices, offsets, False, mode)
        if mode == 0:
            bag_of, size = torch.tensor([0, 0, 0, 1]), torch.tensor([3, 1])
        arguments = {"grad": torch.rand(2, 4), "indices": indices, "offset2bag": bag_of, "bag_size": size,
                     "maximum_indices": most, **bags, "mode": mode, "per_sample_weights": None}  # fmt: skip
        assert work(name, **arguments) == expected
        if mode == 0:
            assert work(name, **(arguments | {"per_sample_weights": weights})) == Work(adds=16, multiplies=16)
    done = work(
        "aten._embedding_bag_per_sample_weights_backward.default", grad=torch.rand(2, 4), weight=table, indices=indices,
        offsets=offsets, offset2bag=torch.tensor([0, 0, 0, 1]), mode=0,
    )  # fmt: skip
    assert done == Work(multiplies=4, adds=3).times(4)
