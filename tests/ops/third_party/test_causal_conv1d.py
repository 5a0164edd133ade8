"""causal_conv1d: its rule against a plain torch version of the same arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ops.third_party._plain import StandIn, causal, profiled


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
