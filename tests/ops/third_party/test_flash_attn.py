"""flash_attn: each rule against a plain torch version of the same arithmetic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # torch's own name for it

import costmodel
from tests.ops.third_party._plain import StandIn, check, one_shape, profiled


def flash(
    ctx: Any,
    q: Any,
    k: Any,
    v: Any,
    dropout_p: Any,
    softmax_scale: Any,
    causal: Any,
    window_size: Any,
    softcap: Any,
    alibi_slopes: Any,
    deterministic: Any,
    return_softmax: Any,
    is_grad_enabled: Any = True,
) -> Any:  # flash_attn's signature
    """Attention of (batch, length, heads, width)."""
    raise NotImplementedError


def attended(q: Any, k: Any, v: Any) -> Any:
    """torch's own attention, which counts as much."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1]).transpose(1, 2)


REST = (0.0, None, True, (-1, -1), 0.0, None, False, False)


@pytest.mark.parametrize("heads", [4, 2])
def test_flash_attention_is_attention(stand_in: StandIn, heads: int) -> None:
    """Of queries and keys of different lengths; key heads that serve several query heads."""
    function = stand_in("flash_attn.flash_attn_interface", "FlashAttnFunc", flash)
    shapes = [(2, 7, 4, 16), (2, 9, heads, 16), (2, 9, heads, 16)]
    p = profiled(lambda q, k, v: function.apply(q, k, v, *REST), *shapes)
    plain = profiled(attended, *shapes)
    check(p, "flash_attn.FlashAttnFunc.function", plain)
    assert one_shape(p) == one_shape(plain)
    assert list(p.layers["kind"]) == ["attention"]


def test_packed_queries_keys_and_values(stand_in: StandIn) -> None:
    """The same attention, out of one tensor."""

    def forward(
        ctx: Any,
        qkv: Any,
        dropout_p: Any,
        softmax_scale: Any,
        causal: Any,
        window_size: Any,
        softcap: Any,
        alibi_slopes: Any,
        deterministic: Any,
        return_softmax: Any,
        is_grad_enabled: Any = True,
    ) -> Any:  # flash_attn's signature
        raise NotImplementedError

    function = stand_in("flash_attn.flash_attn_interface", "FlashAttnQKVPackedFunc", forward)
    p = profiled(lambda qkv: function.apply(qkv, *REST), (2, 7, 3, 4, 16))
    check(p, "flash_attn.FlashAttnQKVPackedFunc.function", profiled(attended, *[(2, 7, 4, 16)] * 3))
    assert one_shape(p) == (2, 7, 4, 16)


def varlen(
    ctx: Any,
    q: Any,
    k: Any,
    v: Any,
    cu_seqlens_q: Any,
    cu_seqlens_k: Any,
    max_seqlen_q: Any,
    max_seqlen_k: Any,
    dropout_p: Any,
    softmax_scale: Any,
    causal: Any,
    window_size: Any,
    softcap: Any,
    alibi_slopes: Any,
    deterministic: Any,
    return_softmax: Any,
    block_table: Any,
    is_grad_enabled: Any = True,
) -> Any:  # flash_attn's signature
    """Attention of sequences of several lengths, one after the other."""
    return attended(q[None], k[None], v[None])[0]


def test_sequences_of_several_lengths_attend_each_to_itself(stand_in: StandIn) -> None:
    """By where each starts, where values say it; else the figure is a bound that is no more."""
    function = stand_in("flash_attn.flash_attn_interface", "FlashAttnVarlenFunc", varlen)
    lengths = (3, 5, 2)
    starts = torch.tensor([0, 3, 8, 10], dtype=torch.int32)

    def call(q: Any, k: Any, v: Any, at: Any) -> Any:
        return function.apply(q, k, v, at, at, 5, 5, *REST, None)

    expected = [profiled(attended, *[(1, n, 4, 16)] * 3) for n in lengths]
    for execution in ("meta", "real"):
        p = profiled(call, *[(10, 4, 16)] * 3, starts, execution=execution)
        assert p.is_exact
        assert (p.macs, p.flops) == (sum(e.macs for e in expected), sum(e.flops for e in expected))
    unknown = profiled(call, *[(10, 4, 16)] * 3, costmodel.Input((4,), torch.int32))
    assert not unknown.is_exact
    assert "how long the sequences" in unknown.coverage.bounds[0].why
    assert 0 < unknown.macs <= sum(e.macs for e in expected)


def test_a_step_with_a_cache_attends_to_what_it_holds(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the cache and new ones; how many is a number, a tensor, or all of it."""
    stand_in("flash_attn.flash_attn_interface", "FlashAttnFunc", flash)

    def flash_attn_with_kvcache(
        q: Any,
        k_cache: Any,
        v_cache: Any,
        k: Any = None,
        v: Any = None,
        rotary_cos: Any = None,
        rotary_sin: Any = None,
        cache_seqlens: Any = None,
    ) -> Any:  # the beginning of flash_attn's signature
        raise NotImplementedError

    module = sys.modules["flash_attn.flash_attn_interface"]
    flash_attn_with_kvcache.__module__ = module.__name__
    monkeypatch.setattr(module, "flash_attn_with_kvcache", flash_attn_with_kvcache, raising=False)
    shapes = [(2, 1, 4, 16), (2, 32, 4, 16), (2, 32, 4, 16), (2, 1, 4, 16)]

    def step(held: Any) -> Callable[..., Any]:
        return lambda q, kc, vc, new, *at: module.flash_attn_with_kvcache(
            q, kc, vc, new, new, cache_seqlens=at[0] if at else held
        )

    def plain(keys: int) -> costmodel.Profile:
        return profiled(attended, (2, 1, 4, 16), (2, keys, 4, 16), (2, keys, 4, 16))

    name = "flash_attn.flash_attn_with_kvcache.function"
    check(profiled(step(10), *shapes), name, plain(11))
    check(profiled(step(None), *shapes), name, plain(33))
    check(profiled(step(None), *shapes, torch.tensor([10, 10], dtype=torch.int32)), name, plain(11))
    assert not profiled(step(None), *shapes, costmodel.Input((2,), torch.int32)).is_exact


def test_a_saved_profile_finds_the_rules_by_its_ops(stand_in: StandIn, tmp_path: Any) -> None:
    """Also where nothing has imported the library."""
    function = stand_in("flash_attn.flash_attn_interface", "FlashAttnFunc", flash)
    p = profiled(lambda q, k, v: function.apply(q, k, v, *REST), *[(2, 7, 4, 16)] * 3)
    assert costmodel.read_json(p.save(tmp_path / "p.json")).macs == p.macs
