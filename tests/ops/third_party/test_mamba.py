"""mamba_ssm: each rule against a plain torch version of the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # torch's own name for it

import costmodel
from tests.ops.third_party._plain import StandIn, causal, check, one_shape, profiled


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
