"""The inputs of a trace with another number of samples: every tensor that has the batch, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costmodel
from costmodel.batches import batch_of, with_batch
from costmodel.errors import InputError


class Several(nn.Module):
    """Takes a batch of images, token ids in a dict, a table without a batch, and a flag."""

    def forward(
        self, x: torch.Tensor, ids: dict[str, torch.Tensor], *, table: torch.Tensor, scale: int
    ) -> torch.Tensor:
        return x.mean((1, 2, 3)) * scale + table.sum() + ids["a"].sum(1)


def test_every_tensor_with_the_batch_has_the_new_one() -> None:
    """Nested and keyword inputs are followed; dtypes, other sizes and plain values stay."""
    given = costmodel.call(
        (2, 3, 8, 8), {"a": costmodel.Input((2, 5), "int64")}, table=costmodel.Input((7, 2)), scale=costmodel.Value(3)
    )
    p = costmodel.profile(Several(), given)
    assert batch_of(p.graph) == 2
    again = costmodel.profile(Several(), with_batch(p.graph, 6))
    assert [(t.shape, t.dtype) for t in again.inputs] == [
        ((6, 3, 8, 8), "float32"), ((6, 5), "int64"), ((7, 2), "float32"),
    ]  # fmt: skip
    assert again.graph.kwargs["scale"] == 3


@pytest.mark.parametrize("name", ["alexnet", "hybridsn"])
def test_costs_are_in_proportion(name: str) -> None:
    """A network's own inputs, three times as many: three times the MACs."""
    once = costmodel.profile(name)
    assert costmodel.profile(name, with_batch(once.graph, 3)).macs == 3 * once.macs


def test_without_a_batch_there_is_none() -> None:
    """A number as a tensor has no samples, and the error says so."""
    graph = costmodel.profile(lambda x: x * 2, costmodel.Input(())).graph
    assert batch_of(graph) is None
    with pytest.raises(InputError, match="no input has a dimension"):
        with_batch(graph, 2)
