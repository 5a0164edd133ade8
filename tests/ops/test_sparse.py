"""Sparse tensors: what is stored is what is counted, in every layout, on meta tensors and on real ones."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jsonschema import validate
from torch import nn

import costmodel
from costmodel.graph import Sparse, TensorSpec
from costmodel.ops.rule import RULES, SPARSE_RULES
from costmodel.views.json import schema

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")

# 10 x 8, of which 5 elements are stored: in rows 0, 0, 1, 5, 9; in 4 blocks of 2 x 2.
INDICES = [[0, 0, 1, 5, 9], [1, 3, 2, 7, 0]]
STORED, BLOCKS = 5, 4
X = torch.ones(8, 3)

BYTES = {
    "coo": STORED * 4 + 2 * STORED * 8,
    "csr": STORED * 4 + (10 + 1 + STORED) * 8,
    "csc": STORED * 4 + (8 + 1 + STORED) * 8,
    "bsr": BLOCKS * 4 * 4 + (5 + 1 + BLOCKS) * 8,
    "bsc": BLOCKS * 4 * 4 + (4 + 1 + BLOCKS) * 8,
}
"""Float values, and 64-bit indices: two of each element, or one and where each row or column begins."""


def coo() -> torch.Tensor:
    """The matrix."""
    return torch.sparse_coo_tensor(torch.tensor(INDICES), torch.ones(5), (10, 8), check_invariants=False).coalesce()


def stored(layout: str) -> torch.Tensor:
    """The matrix in a layout."""
    a = coo()
    return {
        "coo": lambda: a, "csr": a.to_sparse_csr, "csc": a.to_sparse_csc, "bsr": lambda: a.to_sparse_bsr((2, 2)),
        "bsc": lambda: a.to_sparse_bsc((2, 2)),
    }[layout]()  # fmt: skip


class Function(nn.Module):
    """A model out of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


def profiled(function: Callable[..., Any], *inputs: Any, execution: str = "meta") -> costmodel.Profile:
    """The profile of a function."""
    return costmodel.profile(Function(function), inputs, execution=execution)  # type: ignore[arg-type]  # a literal


PRODUCTS: dict[str, tuple[Callable[..., Any], tuple[int, ...], int]] = {
    "A @ x": (lambda a, x: a @ x, (8, 3), 3),
    "sparse.mm": (torch.sparse.mm, (8, 3), 3),
    "A @ v": (lambda a, v: a @ v, (8,), 1),
    "z @ A": (lambda a, z: z @ a, (4, 10), 4),
}
"""A function, the shape of the dense factor, and how many of its columns (or rows) each stored element meets."""
NOT_ON_CPU = {("A @ x", "bsc"), ("sparse.mm", "bsc"), ("A @ v", "bsc"), ("z @ A", "bsr"), ("z @ A", "bsc"),
              ("A @ v", "csc")}  # fmt: skip


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("layout", BYTES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_multiplies_what_is_stored(product: str, layout: str, execution: str) -> None:
    """Each stored element, those of stored blocks included, with each column of the dense factor; bytes as stored."""
    if execution == "real" and (product, layout) in NOT_ON_CPU:
        execution = "meta"
    function, shape, columns = PRODUCTS[product]
    p = profiled(function, stored(layout), shape, execution=execution)
    n = BLOCKS * 4 if layout.startswith("b") else STORED
    assert p.is_exact
    assert p.macs == n * columns
    assert p.flops == 2 * n * columns
    (call,) = (op for op in p.pricing.ops if op.work.macs)
    (y,) = call.call.outputs
    assert call.traffic.bytes == BYTES[layout] + TensorSpec(shape).nbytes + y.nbytes


@pytest.mark.parametrize("function", [torch.addmm, torch.sparse.addmm])
@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_a_third_term_is_added_to_all_positions(function: Callable[..., Any], layout: str) -> None:
    """The sum is dense: one addition per element of the result."""
    both = [profiled(function, (10, 3), stored(layout), (8, 3), execution=e) for e in ("meta", "real")]
    for p in both:
        assert (p.macs, p.flops) == (15, 30 + 30)
        assert p.is_exact


def test_products_at_stored_positions_alone() -> None:
    """sampled_addmm computes as many dot products as its first argument stores elements, and adds each to one."""
    for execution in ("meta", "real"):
        p = profiled(torch.sparse.sampled_addmm, stored("csr"), (10, 6), (6, 8), execution=execution)
        assert (p.macs, p.flops) == (STORED * 6, 2 * STORED * 6 + STORED)
        assert p.graph.outputs.sparse == Sparse("csr", STORED)


def test_batches_of_sparse_matrices() -> None:
    """The elements of all matrices of a COO batch count."""
    batch = torch.stack([coo(), coo()]).coalesce()
    assert profiled(torch.bmm, batch, (2, 8, 3)).macs == 2 * STORED * 3
    assert profiled(torch.bmm, batch, (2, 8, 3), execution="real").macs == 2 * STORED * 3


@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_pairs_of_two_sparse_factors_are_counted_in_a_real_run(layout: str) -> None:
    """Each pair of elements that meet is one MAC; auto runs for real, as the result's size depends on values."""
    a, b = stored(layout), coo().t().coalesce()
    b = b if layout == "coo" else b.to_sparse_csr()
    p = profiled(torch.mm, a, b, execution="auto")
    left, right = (a.to_dense() != 0).long(), (b.to_dense() != 0).long()
    assert p.execution == "real"
    assert p.macs == int((left @ right).sum())
    assert p.is_exact


# function, FLOPs: of the five stored elements, of the dense result where there is one
ELEMENTWISE: dict[str, tuple[Callable[..., Any], int]] = {
    "scaled": (lambda a: a * 2, STORED),
    "divided": (lambda a: a / 2, STORED),
    "relu": (torch.relu, STORED),
    "tanh": (torch.tanh, STORED),
    "negated": (lambda a: -a, 0),
    "times dense": (lambda a: a * torch.ones(10, 8), STORED),
    "plus dense": (lambda a: torch.ones(10, 8) + a, STORED),
    "total": (lambda a: a.sum(), STORED - 1),
    "dense": (lambda a: a.to_dense(), 0),
    "copied": (lambda a: a.clone(), 0),
}


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_functions_of_elements_compute_what_is_stored(name: str, layout: str, execution: str) -> None:
    """Positions that are not stored cost nothing; both executions say the same."""
    if (name, layout) == ("divided", "csr"):
        execution = "meta"  # which torch's CPU kernels do not know
    function, flops = ELEMENTWISE[name]
    p = profiled(function, stored(layout), execution=execution)
    assert p.is_exact, p.coverage
    assert (p.macs, p.flops) == (0, flops)


def test_what_depends_on_values_is_counted_in_a_real_run() -> None:
    """Sums and products of two sparse tensors, coalescing, rows: auto runs for real and the profile is exact."""
    a, b = coo(), torch.sparse_coo_tensor(torch.tensor([[0, 2], [1, 2]]), torch.ones(2), (10, 8)).coalesce()
    for function, inputs, flops in (
        (lambda a, b: a + b, (a, b), 1),  # position (0, 1) is stored by both
        (lambda a, b: a * b, (a, b), 1),
        (lambda a: torch.sparse.sum(a, 1), (a,), 1),  # four rows, of which one stores two elements
    ):
        p = profiled(function, *inputs, execution="auto")
        assert p.execution == "real"
        assert p.is_exact, p.coverage
        assert p.flops == flops


def test_coalescing_adds_what_is_stored_twice() -> None:
    """Three entries at two positions: a sort of three, and one addition."""
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 0, 1], [1, 1, 2]]), torch.ones(3), (4, 4))
    p = profiled(lambda a: a.coalesce() * 1.0, twice, execution="auto")
    coalesced = next(op for op in p.pricing.ops if "coalesce" in op.call.op and op.work.flops)
    assert (coalesced.work.adds, coalesced.work.compares) == (1, 3)
    assert p.graph.outputs.sparse == Sparse("coo", 2)


def test_softmax_of_rows_that_store_elements() -> None:
    """Rows of 2, 1, 1 and 1 elements: n - 1 compares and n + n - 1 adds, n exponentials and n divisions each."""
    p = profiled(lambda a: torch.sparse.softmax(a, 1), coo(), execution="real")
    assert p.flops == sum((n - 1) + (2 * n - 1) + n + n for n in (2, 1, 1, 1))
    assert p.is_exact
    on_meta = profiled(lambda a: torch.sparse.softmax(a, 1), coo())
    assert not on_meta.is_exact
    assert "in how many rows" in on_meta.coverage.bounds[0].why
    assert on_meta.flops <= p.flops


def test_a_rule_for_dense_tensors_answers_no_sparse_one() -> None:
    """An op without a rule for sparse tensors is unknown, although it has one for dense ones."""
    assert "aten.index_select.default" in RULES
    assert "aten.index_select.default" not in SPARSE_RULES
    p = profiled(lambda a: torch.index_select(a, 0, torch.tensor([0, 1])), coo(), execution="real")
    assert p.coverage.unknown == {"aten.index_select.default": ("",)}
    assert not p.is_exact


def test_no_rule_for_sparse_tensors_takes_the_dispatch_cache_of_dense_ones() -> None:
    """The same product of dense matrices before and after has its own answer."""
    counts = [profiled(lambda a, x: a @ x, a, (8, 3)).macs for a in ((10, 8), coo(), stored("csr"), (10, 8))]
    assert counts == [240, 15, 15, 240]


@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr"])
def test_a_graph_convolution_with_its_adjacency_as_input_and_as_buffer(layout: str) -> None:
    """The adjacency's elements times the features, beside the linear layer; as a buffer it counts as it is stored."""

    class Convolution(nn.Module):
        def __init__(self, adjacency: torch.Tensor | None) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 4)
            self.register_buffer("adjacency", adjacency)

        def forward(self, x: torch.Tensor, adjacency: torch.Tensor | None = None) -> torch.Tensor:
            return torch.relu((self.adjacency if adjacency is None else adjacency) @ self.linear(x))

    n = BLOCKS * 4 if layout == "bsr" else STORED
    for execution in ("auto", "real"):
        given = costmodel.profile(Convolution(None), ((8, 8), stored(layout)), execution=execution)
        held = costmodel.profile(Convolution(stored(layout)), (8, 8), execution=execution)
        for p in (given, held):
            assert p.macs == 8 * 8 * 4 + n * 4
            assert p.is_exact
        assert held.buffers == n
        assert given.peak_memory - held.peak_memory == BYTES[layout]  # buffers are apart


def test_parameters_are_counted_as_they_are_stored() -> None:
    """Elements are those stored; bytes are those of values and indices. No closed form is held against such a layer."""
    layer = nn.Linear(8, 10)
    layer.weight = nn.Parameter(stored("csr"), requires_grad=False)
    p = costmodel.profile(layer, (3, 8))
    assert p.params == STORED + 10
    assert p.params_bytes == BYTES["csr"] + 10 * 4
    assert p.macs == 3 * STORED
    assert p.crosscheck().checked == 0
    assert p.crosscheck().ok


def test_without_values_the_figure_is_a_bound_and_says_where() -> None:
    """A model on the meta device stores nothing that could be counted."""

    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("adjacency", coo().to("meta"))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.adjacency @ x

    p = costmodel.profile(nn.Sequential(Held()), (8, 3))
    assert not p.is_exact
    (bound,) = p.coverage.bounds
    assert bound.where == "0"
    assert "no value says how many" in bound.why
    empty = torch.sparse_coo_tensor(torch.zeros(2, 0, dtype=torch.long), torch.zeros(0), (10, 8))
    known = profiled(lambda a, x: a @ x, empty, (8, 3))
    assert known.is_exact
    assert known.macs == 0


def test_json_and_pickle_keep_how_tensors_are_stored(tmp_path: Any) -> None:
    """Figures come back; the file fits the schema; files of dense models have no key for it."""
    p = profiled(lambda a, x: (a @ x).relu(), stored("bsr"), (8, 3))
    document = json.loads(p.to_json())
    validate(document, schema())
    assert document["graph"]["sparse"][0]["block"] == [2, 2]
    back = costmodel.read_json(p.save(tmp_path / "p.json"))
    for again in (back, pickle.loads(pickle.dumps(p))):
        assert (again.macs, again.memory_access_bytes, again.peak_memory) == (
            p.macs, p.memory_access_bytes, p.peak_memory,
        )  # fmt: skip
        assert again.inputs[0].sparse == Sparse("bsr", BLOCKS, block=(2, 2))
    assert "sparse" not in json.loads(costmodel.profile(nn.ReLU(), (3,)).to_json())["graph"]


def test_what_a_user_gave_is_as_before() -> None:
    """A real run leaves sparse inputs and buffers as they were."""
    a = coo()
    before = a.to_dense()
    profiled(lambda a: a.mul_(2), a, execution="real")
    assert torch.equal(a.to_dense(), before)


def test_complex_elements_are_counted_by_parts() -> None:
    """A complex multiply-accumulate is four real ones, a product six operations, once and not twice."""
    a = torch.sparse_coo_tensor(torch.tensor(INDICES), torch.ones(5, dtype=torch.complex64), (10, 8)).coalesce()
    x = torch.ones(8, 3, dtype=torch.complex64)
    for execution in ("meta", "real"):
        assert profiled(lambda a, x: a @ x, a, x, execution=execution).macs == 4 * STORED * 3
        assert profiled(lambda a: a * 2, a, execution=execution).flops == 6 * STORED
        dense = profiled(torch.sin, torch.ones(STORED, dtype=torch.complex64))
        assert profiled(torch.sin, a, execution=execution).flops == dense.flops
