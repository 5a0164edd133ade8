"""Matrix products against naive loops, and worked numbers for the terms they add."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from costmodel.graph import TensorSpec
from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import record, traffic, work

length = st.integers(1, 5)


@given(b=length, m=length, n=length, k=length)
def test_products_visit_every_triple(b: int, m: int, n: int, k: int) -> None:
    """mm, bmm, mv and dot count the visits of the innermost line of their loop nests; torch agrees on the outputs."""
    a, c = torch.rand(b, m, k), torch.rand(b, k, n)

    def visits(*lengths: int) -> Work:
        return Work(macs=sum(1 for _ in product(*map(range, lengths))))

    assert work("aten.bmm.default", self=a, mat2=c) == visits(b, m, n, k)
    assert work("aten.mm.default", self=a[0], mat2=c[0]) == visits(m, n, k)
    assert work("aten.mv.default", self=a[0], vec=c[0, :, 0]) == visits(m, k)
    assert work("aten.dot.default", self=a[0, 0], tensor=c[0, :, 0]) == visits(k)
    summed = work("aten.addbmm.default", self=torch.rand(m, n), batch1=a, batch2=c)
    assert summed.macs == visits(b, m, n, k).macs


@given(leading=st.lists(length, max_size=3), n_in=length, n_out=length, bias=st.booleans(), swapped=st.booleans())
def test_linear_is_a_dot_product_for_every_output(
    leading: list[int], n_in: int, n_out: int, bias: bool, swapped: bool
) -> None:
    """Rows, outputs and inputs are visited once each; a bias is one addition an output; any layout of the input."""
    x = torch.rand(*leading, n_in)
    if swapped and len(leading) > 1:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    b = torch.rand(n_out) if bias else None
    outputs = sum(1 for _ in product(*map(range, leading), range(n_out)))
    expected = Work(macs=sum(1 for _ in range(outputs) for _ in range(n_in)), adds=outputs if bias else 0)
    assert work("aten.linear.default", input=x, weight=torch.rand(n_out, n_in), bias=b) == expected


@pytest.mark.parametrize(
    ("beta", "alpha", "further"),
    [
        (1, 1, Work(adds=15)),
        (1, 2, Work(adds=15, multiplies=15)),
        (0.5, 2, Work(adds=15, multiplies=30)),
        (0, 1, Work()),
        (0, 3, Work(multiplies=15)),
    ],
)
def test_what_addmm_adds(beta: float, alpha: float, further: Work) -> None:
    """(3, 4) @ (4, 5): 60 MACs, 15 additions unless beta is 0, and 15 multiplies for each factor that is not 1."""
    arguments = {"self": torch.rand(5), "mat1": torch.rand(3, 4), "mat2": torch.rand(4, 5)}
    assert work("aten.addmm.default", **arguments, beta=beta, alpha=alpha) == Work(macs=60) + further
    # 12 + 20 elements are read, the 5 of the bias too unless beta is 0, and 15 are written.
    read = 37 if beta else 32
    expected = Traffic(read=read, written=15, read_bytes=4 * read, written_bytes=60)
    assert traffic("aten.addmm.default", **arguments, beta=beta, alpha=alpha) == expected


def test_bilinear_contracts_one_side_after_the_other() -> None:
    """3 rows, 5 outputs, inputs of 4 and 2: 3 * 5 * (4 * 2 + 2) MACs, and 15 additions of the bias."""
    arguments = {"input1": torch.rand(3, 4), "input2": torch.rand(3, 2), "weight": torch.rand(5, 4, 2)}
    assert work("aten.bilinear.default", **arguments, bias=torch.rand(5)) == Work(macs=150, adds=15)


def test_a_tensor_that_is_passed_twice_is_read_once() -> None:
    """In x @ x the 9 elements of x are one operand: read once, 9 written."""
    call = record("aten.mm.default", self=torch.rand(3, 3), mat2=torch.rand(3, 3))
    call.args["mat2"] = call.args["self"]
    assert RULES["aten.mm.default"].traffic(call) == Traffic(read=9, written=9, read_bytes=36, written_bytes=36)


@pytest.mark.parametrize(
    ("target", "shapes", "says"),
    [
        ("aten.mm.default", {"self": (3, 4), "mat2": (5, 6)}, r"\(3, 4\) and \(5, 6\) does not fit.* 4 with 5"),
        ("aten.bmm.default", {"self": (2, 3, 4), "mat2": (1, 4, 6)}, r"got \(2, 3, 4\) and \(1, 4, 6\)"),
        ("aten.mv.default", {"self": (3, 4), "vec": (4, 1)}, r"got \(3, 4\) and \(4, 1\)"),
        ("aten.linear.default", {"input": (3, 4), "weight": (2, 5)}, r"takes 5 features, the input has \(3, 4\)"),
    ],
)
def test_factors_that_do_not_fit_are_an_error(target: str, shapes: dict[str, tuple[int, ...]], says: str) -> None:
    """The reason names both shapes."""
    outputs = RULES[target].outputs
    assert callable(outputs)
    with pytest.raises(ValueError, match=says):
        outputs({name: TensorSpec(shape) for name, shape in shapes.items()} | {"bias": None})
