"""Attention: worked numbers, and torch's choice of kernel as it shows in layouts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import RULES, find
from costmodel.ops.versions import Change, has
from costmodel.quantities import Traffic, Work
from tests.live_memory import allocations, peak
from tests.ops._asking import positions, record, traffic, work
from tests.ops._binding import RealCall, resolve
from tests.ops.test_temporaries import BOOKKEEPING
from tests.ops.test_windows import claims, differing, observed, some

TARGET = "aten.scaled_dot_product_attention.default"


def qkv(heads: int = 4, shared_heads: int = 4) -> dict[str, Any]:
    """Batch 2, 5 queries, 7 keys, depth 8 and value width 6."""
    return {
        "query": torch.rand(2, heads, 5, 8),
        "key": torch.rand(2, shared_heads, 7, 8),
        "value": torch.rand(2, shared_heads, 7, 6),
    }


# 8 heads in all, 5 x 7 scores each: 280 scores in 40 rows of 7.
PLAIN = Work(
    macs=280 * 8 + 280 * 6, multiplies=280, compares=40 * 6, adds=280 + 40 * 6, transcendentals=280, divides=280
)


def test_attention_by_hand() -> None:
    """Scores and weighted sums are MACs, the scale a multiply a score, and each query's softmax spans all keys."""
    assert work(TARGET, **qkv()) == PLAIN
    # q 320, k 448, v 336 elements; 240 written.
    assert traffic(TARGET, **qkv()) == Traffic(read=1104, written=240, read_bytes=4416, written_bytes=960)


def test_a_mask_of_numbers_is_added_and_one_of_booleans_selects() -> None:
    """One addition a score for a mask of numbers, none for booleans or is_causal, which still counts every score."""
    assert work(TARGET, **qkv(), attn_mask=torch.zeros(5, 7)) == PLAIN + Work(adds=280)
    assert work(TARGET, **qkv(), attn_mask=torch.ones(5, 7, dtype=torch.bool)) == PLAIN
    assert work(TARGET, **qkv(), attn_mask=None, dropout_p=0.0, is_causal=True) == PLAIN
    assert traffic(TARGET, **qkv(), attn_mask=torch.zeros(5, 7)).read == 1104 + 35


def test_dropout_masks_and_scales_every_weight() -> None:
    """Two multiplies a score besides."""
    assert work(TARGET, **qkv(), attn_mask=None, dropout_p=0.5) == PLAIN + Work(multiplies=560)


def test_grouped_queries_count_by_query_heads_and_move_the_keys_there_are() -> None:
    """Two key heads for four query heads: the same arithmetic, half the keys and values read."""
    assert work(TARGET, **qkv(shared_heads=2), enable_gqa=True) == PLAIN
    assert traffic(TARGET, **qkv(shared_heads=2), enable_gqa=True).read == 320 + 224 + 168


def test_the_fused_kernel_takes_groups_of_queries_as_they_are() -> None:
    """Where it can: two key heads for four query heads, without a flag and without copies of the keys."""
    shared = 2 if has(Change.FUSED_GROUPED_QUERIES) else 4
    given = {**qkv(shared_heads=shared), "value": torch.rand(2, shared, 7, 8)}
    assert work("aten._scaled_dot_product_flash_attention_for_cpu.default", **given).macs == 280 * 8 + 280 * 8


@given(
    leading=st.lists(st.integers(1, 3), max_size=3), rows=st.integers(1, 4), keys=st.integers(1, 4),
    depth=st.integers(1, 4), width=st.integers(1, 4), order=st.permutations([0, 1, 2, 3]),
    masked=st.booleans(), dropout=st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_outputs_are_those_of_torch(
    leading: list[int], rows: int, keys: int, depth: int, width: int, order: list[int], masked: bool, dropout: bool
) -> None:
    """Shapes, and the query's layout where torch's fused kernel keeps it; MACs are two products of matrices."""
    q, k, v = torch.rand(*leading, rows, depth), torch.rand(*leading, keys, depth), torch.rand(*leading, keys, width)
    if len(leading) == 2:
        back = [order.index(d) for d in range(4)]
        q = q.permute(order).contiguous().permute(back)
    mask = torch.zeros(rows, keys) if masked else None
    arguments = {"query": q, "key": k, "value": v, "attn_mask": mask, "dropout_p": 0.5 if dropout else 0.0}
    asked = record(TARGET, **arguments)
    macs = sum(1 for _ in range(q[..., 0, 0].numel()) for _ in range(rows) for _ in range(keys) for _ in range(depth))
    macs += sum(1 for _ in range(q[..., 0, 0].numel()) for _ in range(rows) for _ in range(width) for _ in range(keys))
    assert RULES[TARGET].work(asked).macs == macs


@pytest.mark.parametrize(
    ("key", "value", "options"),
    [
        ((2, 4, 7, 8), (2, 4, 7, 8), {}),
        ((2, 4, 7, 8), (2, 4, 7, 6), {}),
        ((1, 4, 7, 8), (1, 4, 7, 8), {}),
        ((2, 1, 7, 8), (2, 1, 7, 8), {}),
        ((2, 2, 7, 8), (2, 2, 7, 8), {"enable_gqa": True}),
        ((2, 4, 7, 8), (2, 4, 7, 8), {"dropout_p": 0.5}),
        ((2, 4, 7, 8), (2, 4, 7, 8), {"attn_mask": torch.zeros(5, 7)}),
        ((2, 4, 7, 8), (2, 4, 7, 8), {"attn_mask": torch.zeros(4, 5, 7)}),
        ((2, 4, 7, 8), (2, 4, 7, 8), {"attn_mask": torch.zeros(2, 1, 5, 7)}),
    ],
)
def test_the_layout_shows_the_kernel(key: tuple[int, ...], value: tuple[int, ...], options: dict[str, Any]) -> None:
    """Heads taken out of one projection, as networks do: torch's fused kernel keeps that layout, its fallback not."""
    q = torch.rand(2, 5, 4, 8).transpose(1, 2)
    defaults = {"attn_mask": None, "dropout_p": 0.0}
    asked = record(TARGET, query=q, key=torch.rand(key), value=torch.rand(value), **defaults | options)
    assert asked.outputs[0].shape == (2, 4, 5, value[-1])


@pytest.mark.parametrize("shape", [(2, 4, 7, 8), (1, 4, 7, 8), (2, 1, 7, 8), (1, 1, 7, 8), (4, 7, 8), (1, 7, 8)])
def test_an_output_sees_its_own_query_and_all_keys_of_its_head(shape: tuple[int, ...]) -> None:
    """Exactly those, also where one sample's or one head's keys and values stand for all."""
    op = resolve(TARGET)
    assert op is not None
    call = RealCall(op, {"query": torch.rand(2, 4, 5, 8), "key": torch.rand(shape), "value": torch.rand(shape)})
    before, asked = observed(call)
    access, out = RULES[TARGET].access(asked, 0), asked.outputs[0].shape
    for name, tensor in call.tensors():
        of = tuple(tensor.shape)
        for position in some(of, at_most=5):
            (changed,) = differing(call, name, position, before)
            assert changed == [y for y in positions(out) if claims(access, name, position, of, y, out)], name


@pytest.mark.parametrize("how", ["whole", "heads first", "every other key"])
def test_a_mask_is_copied_where_its_last_dimension_has_gaps(how: str) -> None:
    """And in no other layout: what is live besides the result is what the allocator holds."""
    mask = {
        "whole": torch.zeros(2, 4, 64, 96),
        "heads first": torch.zeros(4, 2, 64, 96).transpose(0, 1),
        "every other key": torch.zeros(2, 4, 64, 192)[..., ::2],
    }[how]
    op = resolve(TARGET)
    assert op is not None
    q, k = torch.rand(2, 4, 64, 8), torch.rand(2, 4, 96, 8)
    call = RealCall(op, {"query": q, "key": k, "value": k, "attn_mask": mask})
    (y,) = call.copy().run()
    live = sum(t.nbytes for t in RULES[TARGET].temporaries(call.arguments())) + y.nbytes
    assert abs(live - peak(allocations(call.run))) <= BOOKKEEPING


def test_torch_s_cpu_kernel_costs_the_same() -> None:
    """The kernel beneath, called by its own name, is priced alike; what it saves for later is not traffic."""
    arguments = qkv() | {"value": torch.rand(2, 4, 7, 8)}
    kernel = "aten._scaled_dot_product_flash_attention_for_cpu.default"
    assert work(kernel, **arguments) == work(TARGET, **arguments)
    assert traffic(kernel, **arguments) == traffic(TARGET, **arguments)


def test_shapes_that_do_not_fit_are_an_error() -> None:
    """The reason names all three shapes."""
    outputs = RULES[TARGET].outputs
    assert callable(outputs)
    wrong = {"query": TensorSpec((2, 5, 8)), "key": TensorSpec((2, 7, 9)), "value": TensorSpec((2, 7, 9))}
    with pytest.raises(ValueError, match=r"got \(2, 5, 8\), \(2, 7, 9\) and \(2, 7, 9\)"):
        outputs(wrong)


@pytest.mark.parametrize("kernel", ["flash", "efficient", "cudnn"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_fused_attention_of_a_gpu(kernel: str, dropout: float) -> None:
    """5 queries of 8 features on 7 keys, 2 samples of 4 heads: 280 scores; their gradients are five products.

    Dropout masks and scales the weights, and in the backward the weights and their gradient once more.
    """
    q, k, lse = TensorSpec((2, 4, 5, 8)), TensorSpec((2, 4, 7, 8)), TensorSpec((2, 4, 5))
    op = f"aten._scaled_dot_product_{kernel}_attention"
    arguments = {"query": q, "key": k, "value": k, "dropout_p": dropout}
    forward, backward = find(f"{op}.default"), find(f"{op}_backward.default")
    assert forward is not None
    assert backward is not None
    rows = Work(compares=6, adds=7 + 6, transcendentals=7, divides=7).times(40)
    scaled = 3 if dropout else 1
    expected = Work(macs=280 * (8 + 8), multiplies=280 * scaled) + rows
    assert forward.work(OpCall(f"{op}.default", arguments, (q, lse))) == expected
    gradient = OpCall(f"{op}_backward.default", {"grad_out": q, **arguments, "out": q, "logsumexp": lse}, (q, k, k))
    # s (q k) - logsumexp, exp; s P (dP - D); D of 40 rows of 8.
    expected = Work(macs=280 * (3 * 8 + 2 * 8), multiplies=3 * 280, adds=2 * 280, transcendentals=280)
    expected += Work(multiplies=8, adds=7).times(40) + Work(multiplies=4 * 280 if dropout else 0)
    assert backward.work(gradient) == expected
