"""Activations: what one element costs, written out by hand for each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.graph import TensorSpec
from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import record, traffic, work

PER_ELEMENT: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("relu", {}, {"compares": 1}),
    ("relu6", {}, {"compares": 2}),
    ("hardtanh", {"min_val": 0, "max_val": 6}, {"compares": 2}),
    ("leaky_relu", {}, {"compares": 1, "multiplies": 1}),
    ("threshold", {"threshold": 0.1, "value": 0}, {"compares": 1}),
    ("rrelu", {"training": True}, {"compares": 1, "multiplies": 1}),
    ("sigmoid", {}, {"transcendentals": 1, "adds": 1, "divides": 1}),
    ("tanh", {}, {"transcendentals": 1}),
    ("silu", {}, {"transcendentals": 1, "adds": 1, "divides": 1, "multiplies": 1}),
    ("log_sigmoid", {}, {"transcendentals": 2, "adds": 1}),
    ("softplus", {}, {"multiplies": 1, "transcendentals": 2, "adds": 1, "divides": 1, "compares": 1}),
    ("mish", {}, {"transcendentals": 3, "adds": 1, "multiplies": 1}),
    ("hardshrink", {}, {"compares": 2}),
    ("softshrink", {}, {"compares": 2, "adds": 1}),
    ("hardsigmoid", {}, {"adds": 1, "compares": 2, "divides": 1}),
    ("hardswish", {}, {"adds": 1, "compares": 2, "divides": 1, "multiplies": 1}),
    ("gelu", {}, {"multiplies": 3, "transcendentals": 1, "adds": 1}),
    ("gelu", {"approximate": "tanh"}, {"multiplies": 6, "transcendentals": 1, "adds": 2}),
    ("elu", {}, {"compares": 1, "transcendentals": 1, "adds": 1, "multiplies": 1}),
    ("elu", {"alpha": 1.7, "scale": 1.1, "input_scale": 1},
     {"compares": 1, "transcendentals": 1, "adds": 1, "multiplies": 2}),
    ("selu", {}, {"compares": 1, "transcendentals": 1, "adds": 1, "multiplies": 2}),
    ("celu", {}, {"compares": 1, "transcendentals": 1, "adds": 1, "multiplies": 1, "divides": 1}),
    ("logit", {}, {"adds": 1, "divides": 1, "transcendentals": 1}),
    ("logit", {"eps": 0.1}, {"adds": 1, "divides": 1, "transcendentals": 1, "compares": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "kinds"), PER_ELEMENT)
def test_what_one_element_costs(name: str, options: dict[str, Any], kinds: dict[str, int]) -> None:
    """24 elements cost 24 times the definition, are read once and written once."""
    x, target = torch.rand(2, 3, 4), f"aten.{name}.default"
    assert work(target, self=x, **options) == Work(**{kind: 24 * n for kind, n in kinds.items()})
    assert traffic(target, self=x, **options) == Traffic(read=24, written=24, read_bytes=96, written_bytes=96)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in PER_ELEMENT if hasattr(torch.ops.aten, f"{name}_")}))
def test_in_place_costs_the_same(name: str) -> None:
    """The in-place variant, where torch has one, is priced by the same rule."""
    assert RULES[f"aten.{name}_.default"] is RULES[f"aten.{name}.default"]


def test_prelu_reads_its_weights() -> None:
    """A comparison and a product for each of 24 elements; 24 elements and 3 weights are read."""
    arguments = {"self": torch.rand(2, 3, 4), "weight": torch.rand(1, 3, 1)}
    assert work("aten._prelu_kernel.default", **arguments) == Work(compares=24, multiplies=24)
    expected = Traffic(read=27, written=24, read_bytes=108, written_bytes=96)
    assert traffic("aten._prelu_kernel.default", **arguments) == expected


def test_glu_gates_one_half_by_the_other() -> None:
    """(2, 6, 4) halved along 1: 24 sigmoids and 24 products; all 48 elements are read, 24 written."""
    x = torch.rand(2, 6, 4)
    assert work("aten.glu.default", self=x, dim=1) == Work(transcendentals=24, adds=24, divides=24, multiplies=24)
    expected = Traffic(read=48, written=24, read_bytes=192, written_bytes=96)
    assert traffic("aten.glu.default", self=x, dim=-2) == expected
    call = record("aten.glu.default", self=x, dim=1)
    # Output 1 of 3 reads inputs 1 and 4.
    assert RULES[call.op].access(call, 0)["self"][1].pull(1, 1) == (1, 4)  # type: ignore[index, union-attr]
    with pytest.raises(ValueError, match=r"halves dimension 0 of \(3, 4\), which is odd"):
        RULES["aten.glu.default"].outputs({"self": TensorSpec((3, 4)), "dim": 0})  # type: ignore[operator]


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
@settings(max_examples=30)
def test_softmax_row_by_row(shape: list[int], data: st.DataObject) -> None:
    """Each row: a maximum, n differences, n exponentials, a sum, n divisions; its logarithm takes no divisions."""
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = torch.rand(shape)
    counts = {"compares": 0, "adds": 0, "transcendentals": 0, "divides": 0}
    log = {"compares": 0, "adds": 0, "transcendentals": 0}
    for row in x.movedim(dim, -1).reshape(-1, shape[dim]):
        for i, _ in enumerate(row):
            for tally in (counts, log):
                tally["compares"] += i > 0
                tally["adds"] += 1 + (i > 0)  # the difference, and the sum but for its first term
                tally["transcendentals"] += 1
            counts["divides"] += 1
            log["adds"] += 1
        log["transcendentals"] += 1
    assert work("aten._softmax.default", self=x, dim=dim, half_to_float=False) == Work(**counts)
    assert work("aten._safe_softmax.default", self=x, dim=dim) == Work(**counts)
    assert work("aten._log_softmax.default", self=x, dim=dim, half_to_float=False) == Work(**log)
