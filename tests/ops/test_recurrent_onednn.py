"""oneDNN's layer of an LSTM and its gradient: what torch's kernels return and allocate, what is kept between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from costmodel.graph import TensorSpec, tensors_in
from costmodel.ops import RULES
from costmodel.ops.recurrent_onednn import workspace
from tests.live_memory import allocations, peak
from tests.ops._binding import spec_of

LAYER, GRADIENT = "aten.mkldnn_rnn_layer.default", "aten.mkldnn_rnn_layer_backward.default"
DTYPES = [torch.float32]
if torch.ops.mkldnn._is_mkldnn_bf16_supported():
    DTYPES.append(torch.bfloat16)


def layer(
    steps: int, batch: int, features: int, hidden: int, dtype: torch.dtype, *, bias: bool = True, last: bool = False
) -> list[Any]:
    """The arguments of a real call; ``last``: the weights lie transposed in memory."""
    lstm = nn.LSTM(features, hidden, bias=bias, dtype=dtype)
    weights = [w.detach() for w in lstm.parameters()]
    if last:
        weights[:2] = [w.t().contiguous().t() for w in weights[:2]]
    if not bias:
        weights += [torch.zeros_like(w) for w in weights]
    x, h, c = (torch.randn(*shape, dtype=dtype) for shape in ((steps, batch, features), *[(batch, hidden)] * 2))
    return [x, *weights, h, c, False, [], 2, hidden, 1, bias, False, False, True]


def gradient(args: list[Any], given: str, *, last: bool = False) -> list[Any]:
    """The arguments of the gradient of such a call; ``given``: which of its outputs have one, ``last``: transposed."""
    x, w0, w1, b0, b1, h, c, reverse, sizes, mode, hidden, layers, bias, two, first, train = args
    y, hy, cy, kept = torch.ops.aten.mkldnn_rnn_layer.default(*args)
    arriving = [torch.randn_like(t) if name in given else None for name, t in (("y", y), ("h", hy), ("c", cy))]
    if last:
        arriving = [g if g is None else g.transpose(0, 1).contiguous().transpose(0, 1) for g in arriving]
    return [x, w0, w1, b0, b1, h, c, y, hy, cy, *arriving, reverse, mode, hidden, layers, bias, train, two, sizes,
            first, kept]  # fmt: skip


def bound(op: str, args: list[Any]) -> dict[str, Any]:
    """The arguments by name, as a rule takes them."""
    name = op.split(".")[1]
    names = [a.name for a in getattr(torch.ops.aten, name).default._schema.arguments]
    return {n: spec_of(v) if isinstance(v, torch.Tensor) else v for n, v in zip(names, args, strict=True)}


def outputs(op: str, args: list[Any]) -> list[TensorSpec | None]:
    """What the rule says of the outputs."""
    rule = RULES[op].outputs
    assert callable(rule)
    told = rule(bound(op, args))
    assert isinstance(told, tuple)
    return list(told)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    sizes=st.tuples(*[st.sampled_from([1, 2, 3, 9, 20])] * 2, *[st.sampled_from([1, 3, 16, 17, 33, 64, 128, 256])] * 2)
)
@settings(max_examples=60, deadline=None)
def test_what_is_kept_is_as_large_as_torch_makes_it(dtype: torch.dtype, sizes: tuple[int, int, int, int]) -> None:
    """The workspace of every size, where autograd is on."""
    steps, batch, features, hidden = sizes
    kept = torch.ops.aten.mkldnn_rnn_layer.default(*layer(*sizes, dtype))[3]
    told = workspace(steps=steps, batch=batch, features=features, hidden=hidden, itemsize=dtype.itemsize)
    assert told == kept.nbytes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_are_those_of_torch(dtype: torch.dtype, bias: bool) -> None:
    """Shapes and dtypes, with what is kept and without, and of all gradients, which are in single precision."""
    args = layer(5, 2, 3, 4, dtype, bias=bias)
    real = torch.ops.aten.mkldnn_rnn_layer.default(*args)
    assert [str(t) for t in outputs(LAYER, args)] == [str(spec_of(t)) for t in real]
    assert outputs(LAYER, [*args[:-1], False])[3] is None
    back = gradient(args, "y")
    real = torch.ops.aten.mkldnn_rnn_layer_backward.default(*back)
    assert [str(t) for t in outputs(GRADIENT, back)] == [str(spec_of(t)) for t in real]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given_gradients", ["y", "h", "yhc"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_peak_is_that_of_a_real_run(dtype: torch.dtype, given_gradients: str, last: bool, bias: bool) -> None:
    """Outputs and temporaries are the most that the allocator holds, of the layer and of its gradient."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    args = layer(20, 30, 40, 70, dtype, bias=bias, last=last)
    try:
        for op, call in ((LAYER, args), (GRADIENT, gradient(args, given_gradients, last=last))):
            told = [*tensors_in(outputs(op, call)), *RULES[op].temporaries(bound(op, call))]

            def run(op: str = op, call: list[Any] = call) -> Any:
                with torch.enable_grad():
                    return getattr(torch.ops.aten, op.split(".")[1]).default(*call)

            assert sum(t.nbytes for t in told) == pytest.approx(peak(allocations(run)), abs=128), op
    finally:
        torch.set_num_threads(threads)
