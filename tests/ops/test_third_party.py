"""Kernels of other libraries: each rule against a plain torch version of the same arithmetic.

The libraries need a GPU. Stand-ins with their names and signatures take their place; their functions run plain torch,
which a trace does not look into.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # torch's own name for it
from torch import nn

import costmodel
from costmodel.declared import DECLARED
from costmodel.ops import third_party
from costmodel.ops.rule import RULES
from costmodel.ops.third_party import FILES


class Function(nn.Module):
    """A model out of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


def profiled(function: Callable[..., Any], *inputs: Any, execution: Any = "meta") -> costmodel.Profile:
    """The profile of a function."""
    return costmodel.profile(Function(function), inputs, execution=execution)


@pytest.fixture(scope="module", autouse=True)
def tables() -> Iterator[None]:
    """What these tests register is gone after them."""
    declared, rules, loaded = dict(DECLARED), set(RULES), set(third_party._loaded)
    yield
    DECLARED.clear()
    DECLARED.update(declared)
    for target in set(RULES) - rules:
        del RULES[target]
    for name in set(FILES.values()) - loaded:
        sys.modules.pop(f"{third_party.__name__}.{name}", None)
    third_party._loaded.intersection_update(loaded)


StandIn = Callable[[str, str, Callable[..., Any]], Any]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Makes ``module.name`` an autograd function with the given forward, and every package above a module."""

    def make(module: str, name: str, forward: Callable[..., Any]) -> Any:
        parts = module.split(".")
        for n in range(1, len(parts) + 1):
            path = ".".join(parts[:n])
            if path not in sys.modules:
                monkeypatch.setitem(sys.modules, path, ModuleType(path))
        made = type(name, (torch.autograd.Function,), {"forward": staticmethod(forward), "__module__": module})
        setattr(sys.modules[module], name, made)
        return made

    return make


def check(p: costmodel.Profile, op: str, plain: costmodel.Profile) -> None:
    """One op stands for the call, and costs what the plain version does; it is exact."""
    assert list(p.coverage.counted) == [op]
    assert p.is_exact, p.coverage
    assert (p.macs, p.flops) == (plain.macs, plain.flops)
    assert plain.is_exact


def one_shape(p: costmodel.Profile) -> tuple[int, ...]:
    """The shape of the only output."""
    return tuple(p.graph.outputs.shape)


# -- mamba_ssm ---------------------------------------------------------------------------------------------------------


def scan(
    u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any = None, z: Any = None, delta_bias: Any = None,
    delta_softplus: bool = False, return_last_state: bool = False, cu_seqlens: Any = None,
) -> Any:  # fmt: skip
    """The recurrence, step by step: u, delta, z (b, d, l), A (d, n), B, C (b, n, l)."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    decay = torch.exp(delta[..., None] * A[:, None])
    driven = (delta * u)[..., None] * B.transpose(1, 2)[:, None]
    h = torch.zeros(u.shape[0], u.shape[1], A.shape[1], device=u.device)
    ys = []
    for t in range(u.shape[2]):
        h = decay[:, :, t] * h + driven[:, :, t]
        ys.append((h @ C[:, :, t, None])[..., 0])
    y = torch.stack(ys, 2)
    if D is not None:
        y = y + u * D[:, None]
    if z is not None:
        y = y * F.silu(z)
    return (y, h) if return_last_state else y


@pytest.mark.parametrize("last_state", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_the_selective_scan_is_its_recurrence(stand_in: StandIn, full: bool, last_state: bool) -> None:
    """With and without bias, softplus, skip and gate; a model that imported it under its own name."""
    function = stand_in(
        "mamba_ssm.ops.selective_scan_interface", "SelectiveScanFn", lambda ctx, *args: scan(*args)
    )  # fmt: skip
    function.forward = staticmethod(
        lambda ctx, u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,
        return_last_state=False, cu_seqlens=None:
        scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state)
    )  # fmt: skip
    given = [(2, 6, 5), (2, 6, 5), (6, 4), (2, 4, 5), (2, 4, 5)]
    given += [(6,), (2, 6, 5), (6,)] if full else []

    def run(apply: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            rest = (True, last_state) if full else (None, None, None, False, last_state)
            return apply(*args, *rest)

        return call

    p, plain = profiled(run(function.apply), *given), profiled(run(scan), *given)
    check(p, "mamba_ssm.SelectiveScanFn.function", plain)
    assert [t.shape for t in costmodel.graph.tensors_in(p.graph.outputs)] == [
        t.shape for t in costmodel.graph.tensors_in(plain.graph.outputs)
    ]
    real = profiled(run(function.apply), *given, execution="real")
    assert (real.macs, real.flops, real.peak_memory) == (p.macs, p.flops, p.peak_memory)


def causal(x: Any, weight: Any, bias: Any, silu: bool) -> Any:
    """A depthwise convolution of what was, x (b, d, l) and weight (d, w)."""
    width = weight.shape[-1]
    y = F.conv1d(F.pad(x, (width - 1, 0)), weight.reshape(-1, 1, width), bias, groups=x.shape[1])
    return F.silu(y) if silu else y


def test_mambas_inner_function_is_its_block(stand_in: StandIn) -> None:
    """Convolution, projections, scan and output projection together."""
    function = stand_in("mamba_ssm.ops.selective_scan_interface", "MambaInnerFn", inner_signature)
    shapes = [(2, 12, 5), (6, 1, 4), (6,), (3 + 8, 6), (6, 3), (7, 6), (7,), (6, 4), (6,), (6,)]

    def plain(
        xz: Any,
        conv: Any,
        conv_bias: Any,
        x_proj: Any,
        dt_proj: Any,
        out: Any,
        out_bias: Any,
        A: Any,
        D: Any,
        bias: Any,
    ) -> Any:  # the arguments of a block
        x, z = xz.chunk(2, 1)
        x = causal(x, conv, conv_bias, silu=True)
        projected = F.linear(x.transpose(1, 2), x_proj)
        delta = F.linear(projected[..., :3], dt_proj).transpose(1, 2)
        b, c = projected[..., 3:7].transpose(1, 2), projected[..., 7:].transpose(1, 2)
        return F.linear(scan(x, delta, A, b, c, D, z, bias, True).transpose(1, 2), out, out_bias)

    def call(
        xz: Any,
        conv: Any,
        conv_bias: Any,
        x_proj: Any,
        dt_proj: Any,
        out: Any,
        out_bias: Any,
        A: Any,
        D: Any,
        bias: Any,
    ) -> Any:
        return function.apply(
            xz, conv, conv_bias, x_proj, dt_proj, out, out_bias, A, None, None, D, bias, None, None, True
        )

    p, of_torch = profiled(call, *shapes), profiled(plain, *shapes)
    check(p, "mamba_ssm.MambaInnerFn.function", of_torch)
    assert one_shape(p) == one_shape(of_torch) == (2, 5, 7)


def inner_signature(
    ctx: Any, xz: Any, conv1d_weight: Any, conv1d_bias: Any, x_proj_weight: Any, delta_proj_weight: Any,
    out_proj_weight: Any, out_proj_bias: Any, A: Any, B: Any = None, C: Any = None, D: Any = None,
    delta_bias: Any = None, B_proj_bias: Any = None, C_proj_bias: Any = None, delta_softplus: bool = True,
    cu_seqlens: Any = None, seq_idx: Any = None, checkpoint_lvl: int = 1,
) -> Any:  # fmt: skip
    """What mamba_ssm's function takes; its kernels are not here."""
    raise NotImplementedError


def chunks(x: Any, dt: Any, A: Any, B: Any, C: Any, size: int, D: Any, z: Any, bias: Any, softplus: bool) -> Any:
    """Matrix products within chunks: x (b, l, h, p), dt (b, l, h), A (h,), B, C (b, l, 1, n)."""
    if bias is not None:
        dt = dt + bias
    if softplus:
        dt = F.softplus(dt)
    state, ys = torch.zeros(x.shape[0], x.shape[2], x.shape[3], B.shape[3], device=x.device), []
    for xc, dtc, bc, cc in zip(*(t.split(size, 1) for t in (x, dt, B, C)), strict=True):
        xc, dtc = xc.transpose(1, 2), dtc.transpose(1, 2)  # b h q p, b h q
        bc, cc = bc[:, :, 0], cc[:, :, 0]  # b q n
        step = dtc * A[:, None]
        total = torch.cumsum(step, -1)
        scores = (cc @ bc.transpose(1, 2))[:, None] * torch.exp(total[..., None] - total[..., None, :])
        y = (scores * dtc[..., None, :]) @ xc
        into = torch.exp(total[..., -1:] - total) * dtc
        new = xc.transpose(2, 3) @ (bc[:, None] * into[..., None])  # b h p n
        out = (cc[:, None] @ state.transpose(2, 3)) * torch.exp(total)[..., None]
        state = state * torch.exp(total[..., -1])[..., None, None] + new
        ys.append((y + out).transpose(1, 2))
    y = torch.cat(ys, 1)
    if D is not None:
        y = y + x * D[:, None]
    return y if z is None else y * F.silu(z)


@pytest.mark.parametrize("length", [8, 10])
@pytest.mark.parametrize("full", [False, True])
def test_the_chunked_scan_is_its_products_within_chunks(stand_in: StandIn, full: bool, length: int) -> None:
    """Of whole chunks, and of one that is not; with and without bias, softplus, skip and gate."""

    def forward(
        ctx: Any,
        x: Any,
        dt: Any,
        A: Any,
        B: Any,
        C: Any,
        chunk_size: int,
        D: Any = None,
        z: Any = None,
        dt_bias: Any = None,
        initial_states: Any = None,
        seq_idx: Any = None,
        cu_seqlens: Any = None,
        dt_softplus: bool = False,
        dt_limit: Any = (0.0, float("inf")),
        return_final_states: bool = False,
        return_varlen_states: bool = False,
    ) -> Any:  # mamba_ssm's signature
        raise NotImplementedError

    function = stand_in("mamba_ssm.ops.triton.ssd_combined", "MambaChunkScanCombinedFn", forward)
    shapes = [(2, length, 3, 5), (2, length, 3), (3,), (2, length, 1, 6), (2, length, 1, 6)]
    shapes += [(3,), (2, length, 3, 5), (3,)] if full else []

    def call(x: Any, dt: Any, a: Any, b: Any, c: Any, d: Any = None, z: Any = None, bias: Any = None) -> Any:
        return function.apply(x, dt, a, b, c, 4, d, z, bias, None, None, None, full)

    def plain(x: Any, dt: Any, a: Any, b: Any, c: Any, d: Any = None, z: Any = None, bias: Any = None) -> Any:
        return chunks(x, dt, a, b, c, 4, d, z, bias, full)

    p, of_torch = profiled(call, *shapes), profiled(plain, *shapes)
    check(p, "mamba_ssm.MambaChunkScanCombinedFn.function", of_torch)
    assert one_shape(p) == one_shape(of_torch) == (2, length, 3, 5)


def test_mamba2s_block_function_is_its_block(stand_in: StandIn) -> None:
    """Convolution, chunked scan, gated norm and output projection together."""

    def forward(
        ctx: Any,
        zxbcdt: Any,
        conv1d_weight: Any,
        conv1d_bias: Any,
        dt_bias: Any,
        A: Any,
        D: Any,
        chunk_size: int,
        initial_states: Any = None,
        seq_idx: Any = None,
        dt_limit: Any = (0.0, float("inf")),
        return_final_states: bool = False,
        activation: str = "silu",
        rmsnorm_weight: Any = None,
        rmsnorm_eps: float = 1e-6,
        outproj_weight: Any = None,
        outproj_bias: Any = None,
        headdim: Any = None,
        ngroups: int = 1,
        norm_before_gate: bool = True,
    ) -> Any:  # mamba_ssm's signature
        raise NotImplementedError

    function = stand_in("mamba_ssm.ops.triton.ssd_combined", "MambaSplitConv1dScanCombinedFn", forward)
    heads, width, state = 3, 5, 6
    inner, convolved = heads * width, heads * width + 2 * state
    shapes = [
        (2, 8, 2 * inner + 2 * state + heads),
        (convolved, 4),
        (convolved,),
        (heads,),
        (heads,),
        (heads,),
        (inner,),
        (7, inner),
    ]

    def call(x: Any, conv: Any, conv_bias: Any, bias: Any, a: Any, d: Any, norm: Any, out: Any) -> Any:
        return function.apply(
            x, conv, conv_bias, bias, a, d, 4, None, None, (0.0, 1.0), False, "silu", norm, 1e-6, out, None, width
        )

    def plain(x: Any, conv: Any, conv_bias: Any, bias: Any, a: Any, d: Any, norm: Any, out: Any) -> Any:
        z, xbc, dt = x.split([inner, convolved, heads], -1)
        xbc = causal(xbc.transpose(1, 2), conv, conv_bias, silu=True).transpose(1, 2)
        x, b, c = xbc.split([inner, state, state], -1)
        y = chunks(x.unflatten(-1, (heads, width)), dt, a, b[:, :, None], c[:, :, None], 4, d, None, bias, True)
        return F.linear(F.rms_norm(y.flatten(2), (inner,), norm, 1e-6) * F.silu(z), out)

    p, of_torch = profiled(call, *shapes), profiled(plain, *shapes)
    check(p, "mamba_ssm.MambaSplitConv1dScanCombinedFn.function", of_torch)
    assert one_shape(p) == one_shape(of_torch) == (2, 8, 7)


# -- causal_conv1d -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silu", [False, True])
def test_a_causal_convolution_is_a_padded_depthwise_one(stand_in: StandIn, silu: bool) -> None:
    """The taps on the zeros before the sequence count, and are listed as such."""

    def forward(
        ctx: Any,
        x: Any,
        weight: Any,
        bias: Any = None,
        seq_idx: Any = None,
        initial_states: Any = None,
        return_final_states: bool = False,
        final_states_out: Any = None,
        activation: Any = None,
    ) -> Any:  # causal_conv1d's signature
        return causal(x, weight, bias, activation is not None)

    function = stand_in("causal_conv1d.causal_conv1d_interface", "CausalConv1dFn", forward)
    shapes = [(2, 6, 9), (6, 4), (6,)]

    def call(x: Any, weight: Any, bias: Any) -> Any:
        return function.apply(x, weight, bias, None, None, False, None, "silu" if silu else None)

    p = profiled(call, *shapes)
    of_torch = profiled(lambda x, w, b: causal(x, w, b, silu), *shapes)
    assert (p.macs, p.flops + 0) == (of_torch.macs, of_torch.flops)
    assert p.macs_on_padding == 2 * 6 * (3 + 2 + 1)
    assert p.is_exact
    assert list(p.layers["kind"]) == ["depthwise conv"]


# -- flash_attn --------------------------------------------------------------------------------------------------------


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


# -- mmcv --------------------------------------------------------------------------------------------------------------


def test_deformable_convolutions_sample_and_convolve(stand_in: StandIn) -> None:
    """Four weights and three additions a sample, one more product with a mask, and an ordinary convolution."""

    def modulated(
        ctx: Any,
        input: Any,
        offset: Any,
        mask: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        deform_groups: int = 1,
    ) -> Any:  # mmcv's signature
        raise NotImplementedError

    def deformable(
        ctx: Any,
        input: Any,
        offset: Any,
        weight: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int = 32,
    ) -> Any:  # mmcv's signature
        raise NotImplementedError

    with_mask = stand_in("mmcv.ops.modulated_deform_conv", "ModulatedDeformConv2dFunction", modulated)
    without = stand_in("mmcv.ops.deform_conv", "DeformConv2dFunction", deformable)
    x, offset, mask, weight, bias = (2, 6, 8, 8), (2, 18, 4, 4), (2, 9, 4, 4), (5, 6, 3, 3), (5,)

    def plain(masked: bool) -> Callable[..., Any]:
        def call(x: Any, weight: Any, bias: Any, corners: Any) -> Any:
            # Four neighbours of each tap with a weight each, of which the sum is taken.
            sampled = (corners * corners).sum(0)
            columns = sampled * sampled if masked else sampled
            y = weight.flatten(1) @ columns
            return y + bias[:, None] if masked else y

        return call

    corners = (4, 2, 6 * 9, 16)
    p = profiled(lambda *a: with_mask.apply(*a, (2, 2), (1, 1), (1, 1), 1, 1), x, offset, mask, weight, bias)
    check(p, "mmcv.ModulatedDeformConv2dFunction.function", profiled(plain(True), x, weight, bias, corners))
    assert one_shape(p) == (2, 5, 4, 4)
    p = profiled(lambda *a: without.apply(*a, 2, 1, 1, 1, 1), x, offset, weight)
    check(p, "mmcv.DeformConv2dFunction.function", profiled(plain(False), x, weight, bias, corners))


# -- spconv and torchsparse --------------------------------------------------------------------------------------------

PAIRS = [[(0, 1), (2, 3)], [(0, 0), (1, 1), (2, 2), (3, 3)], [(1, 0), (3, 2)]]
"""Of each of three offsets, which input point meets which output point: of four points on a line."""


def by_pairs(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The convolution, one pair after the other: weight (offset, in, out)."""
    y = torch.zeros(4, weight.shape[2])
    for offset, pairs in enumerate(PAIRS):
        for i, o in pairs:
            y[o] += (features[i : i + 1] @ weight[offset])[0]
    return y


@pytest.mark.parametrize("name", ["SparseConvFunction", "SubMConvFunction", "SparseImplicitGemmFunction"])
def test_spconv_multiplies_the_pairs_of_its_rulebook(stand_in: StandIn, name: str) -> None:
    """Pairs times input times output channels, which the run says; there is no answer on meta tensors."""
    module = "spconv.pytorch.functional"
    numbers = torch.tensor([len(pairs) for pairs in PAIRS])
    if name == "SparseImplicitGemmFunction":
        found = torch.full((3, 4), -1)
        for offset, pairs in enumerate(PAIRS):
            for i, o in pairs:
                found[offset, o] = i
        function = stand_in(
            module, name,
            lambda ctx, features, filters, pair_fwd, pair_bwd, pair_mask_fwd_splits, pair_mask_bwd_splits,
            mask_argsort_fwd_splits, mask_argsort_bwd_splits, num_activate_out, masks, is_train, is_subm:
            by_pairs(features, filters.permute(1, 2, 0)),
        )  # fmt: skip
        rest: tuple[Any, ...] = (found, found, [], [], [], [], 4, [], False, True)
    else:
        if name == "SubMConvFunction":
            numbers = torch.tensor([2, 0, 0])  # the rulebook holds the first of two opposite offsets alone
        function = stand_in(
            module, name,
            lambda ctx, features, filters, indice_pairs, indice_pair_num, num_activate_out, algo:
            by_pairs(features, filters.permute(1, 2, 0)),
        )  # fmt: skip
        rest = (torch.zeros(2, 3, 4), numbers, 4, None)
    p = profiled(lambda x, w: function.apply(x, w, *rest), (4, 5), (6, 3, 5), execution="auto")
    plain = profiled(lambda x, w: by_pairs(x, w.permute(1, 2, 0)), (4, 5), (6, 3, 5), execution="real")
    assert [op.call.op for op in p.pricing.ops] == [f"spconv.{name}.function"]
    assert p.execution == "real"
    assert p.is_exact
    assert p.macs == plain.macs == 8 * 5 * 6


def test_torchsparse_multiplies_the_pairs_of_its_kernel_map(stand_in: StandIn) -> None:
    """By the sizes of the map, or by the map itself, -1 where an output point meets none."""
    module = "torchsparse.nn.functional.conv.func"
    table = torch.full((4, 3), -1)
    for offset, pairs in enumerate(PAIRS):
        for i, o in pairs:
            table[o, offset] = i
    sizes = torch.tensor([2, 4, 2])
    for name, kernel_map, transposed in (
        ("ImplicitGEMMConvolutionFuntion", {"out_in_map": table}, False),
        ("ImplicitGEMMConvolutionFuntion", {"out_in_map": table[:0], "out_in_map_t": table}, True),
        ("GatherScatterConvolutionFuntion", {"nbsizes": sizes}, False),
        ("FetchOnDemandConvolutionFuntion", {"nbsizes": sizes}, False),
    ):
        function = stand_in(
            module,
            name,
            lambda ctx, input, weight, kmap, config, transposed=False: by_pairs(input, weight),
        )
        p = profiled(
            lambda x, w, f=function, m=kernel_map, t=transposed: f.apply(x, w, m, {}, t),
            (4, 5), (3, 5, 6), execution="auto",
        )  # fmt: skip
        assert [op.call.op for op in p.pricing.ops] == [f"torchsparse.{name}.function"]
        assert p.is_exact
        assert p.macs == 8 * 5 * 6


def test_no_library_is_imported() -> None:
    """Their rules are registered, and none of them is there."""
    costmodel.profile(nn.ReLU(), (3,))
    assert not any(name in sys.modules for name in FILES)


def test_a_saved_profile_finds_the_rules_by_its_ops(stand_in: StandIn, tmp_path: Any) -> None:
    """Also where nothing has imported the library."""
    function = stand_in("flash_attn.flash_attn_interface", "FlashAttnFunc", flash)
    p = profiled(lambda q, k, v: function.apply(q, k, v, *REST), *[(2, 7, 4, 16)] * 3)
    assert costmodel.read_json(p.save(tmp_path / "p.json")).macs == p.macs
