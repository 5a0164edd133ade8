"""Exact sums over contexts, and pairs behind masks, against loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import costmodel
from costmodel.decoding.masks import visible
from costmodel.decoding.pieces import Numbers, pieces
from tests.decoding.networks import Tiny, small


def numbers(value: int) -> Numbers:
    """The numbers of a call that costs so much."""
    return Numbers(("op",), (value,), {"macs": value}, value, value)


def total(first: int, last: int, cost: Callable[[int], int]) -> tuple[int, int]:
    """The sum by pieces, and how many contexts were traced."""
    traced: dict[int, Numbers] = {}

    def at(context: int) -> Numbers:
        return traced.setdefault(context, numbers(cost(context)))

    return sum(piece.sum(lambda n: n.totals["macs"]) for piece in pieces(first, last, at)), len(traced)


@given(
    first=st.integers(1, 50), count=st.integers(0, 300), slope=st.integers(-3, 10**12), window=st.integers(1, 400),
    constant=st.integers(0, 10**15),
)  # fmt: skip
def test_a_cost_that_saturates_is_summed_exactly(
    first: int, count: int, slope: int, window: int, constant: int
) -> None:
    """A line up to a window and a constant from there on: the sum of every context's cost, from few of them."""

    def cost(context: int) -> int:
        return constant + slope * min(context, window)

    found, traced = total(first, first + count - 1, cost)
    assert found == sum(cost(context) for context in range(first, first + count))
    assert traced <= 50


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_a_cost_that_is_linear_nowhere_is_traced_everywhere_or_right(costs: list[int]) -> None:
    """In pieces of two every context is traced; the sum of pieces that look linear by chance may differ in no trace."""
    squares = [cost + 100 * i * i for i, cost in enumerate(costs)]
    found, _ = total(0, len(costs) - 1, squares.__getitem__)
    assert found == sum(squares)


@given(tokens=st.integers(1, 40), size=st.integers(1, 45))
def test_pairs_that_a_mask_lets_through(tokens: int, size: int) -> None:
    """Counted one by one: causal, in a window, in chunks."""
    pairs = [(q, k) for q in range(tokens) for k in range(q + 1)]
    assert visible(tokens) == len(pairs)
    assert visible(tokens, window=size) == sum(q - k < size for q, k in pairs)
    assert visible(tokens, chunk=size) == sum(q // size == k // size for q, k in pairs)


def test_a_model_of_ones_own_by_hand() -> None:
    """A cache may be a pair of tensors: three projections of 8 by 8, attention, a head of 8 by 20; two samples."""
    g = costmodel.generation(Tiny(), prompt=5, new=4, batch=2)
    prompt = 5 * 3 * 64 + 2 * 25 * 8 + 160
    assert g.prefill.macs == 2 * prompt
    assert g.macs == 2 * (prompt + sum(3 * 64 + 2 * (context + 1) * 8 + 160 for context in (5, 6, 7)))
    assert g.executed_macs == g.macs - 2 * 2 * (25 - 15) * 8
    assert g.kv_cache_bytes == 2 * 2 * 8 * 8 * 4
    assert list(g.contexts) == [5, 6, 7]


def test_one_new_token_is_the_prompts() -> None:
    """Its call is the whole generation."""
    g = costmodel.generation(Tiny(), prompt=5)
    assert (g.macs, g.flops, list(g.contexts)) == (g.prefill.macs, g.prefill.flops, [])


@pytest.mark.parametrize(
    ("name", "layers", "windowed"), [("sliding window", 2, 2), ("alternating windows", 2, 1), ("llama", 2, 0)]
)
def test_what_a_mask_hides_is_said_beside_the_full_count(name: str, layers: int, windowed: int) -> None:
    """Two products of 64 channels for each pair; with a window of 12, a token of 30 sees at most 12."""
    g = costmodel.generation(small(name), prompt=30, new=3, batch=2)
    causal, window = 30 * 31 // 2, sum(min(q + 1, 12) for q in range(30))
    hidden = (layers - windowed) * (900 - causal) + windowed * (900 - window)
    assert g.macs - g.executed_macs == 2 * 2 * 64 * hidden
