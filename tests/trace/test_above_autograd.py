"""What the device decides above autograd: a step on meta tensors runs the ops of a real step on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence

import costmodel
from costmodel.trace.above_autograd import above_autograd
from tests.trace._above import Log, assert_same, leaf

FUSED = "aten._scaled_dot_product_flash_attention_for_cpu.default"
LAYER = "aten.mkldnn_rnn_layer.default"


def attention(
    q: tuple[int, ...], kv: tuple[int, ...], mask: Callable[[str], Tensor] | None = None, *,
    dtype: torch.dtype = torch.float32, value: int = 0, **options: Any,
) -> Callable[[nn.Module, str], Tensor]:  # fmt: skip
    """A call of attention on new tensors."""

    def run(_: nn.Module, device: str) -> Tensor:
        tensors = [leaf(device, *shape, dtype=dtype) for shape in (q, kv, (*kv[:-1], value or kv[-1]))]
        given = None if mask is None else mask(device)
        return F.scaled_dot_product_attention(*tensors, given, **options).sum()

    return run


Q, KV = (2, 4, 5, 8), (2, 4, 7, 8)
ATTENTIONS = {
    "plain": (attention(Q, KV), True),
    "causal": (attention(Q, KV, is_causal=True), True),
    "scale": (attention(Q, KV, scale=0.3), True),
    "boolean mask": (attention(Q, KV, lambda d: torch.ones(5, 7, dtype=torch.bool, device=d)), True),
    "mask": (attention(Q, KV, lambda d: torch.ones(2, 1, 5, 7, device=d)), True),
    "mask of three dimensions": (attention(Q, KV, lambda d: torch.ones(4, 5, 7, device=d)), False),
    "trained mask": (attention(Q, KV, lambda d: leaf(d, 5, 7)), False),
    "dropout": (attention(Q, KV, dropout_p=0.1), False),
    "other width of values": (attention(Q, KV, value=6), False),
    "bfloat16": (attention(Q, KV, dtype=torch.bfloat16), True),
    "bfloat16, dropout": (attention(Q, KV, dtype=torch.bfloat16, dropout_p=0.1), False),
    "no tokens": (attention(Q, (2, 4, 0, 8)), False),
}


@pytest.mark.parametrize("which", ATTENTIONS)
def test_attention(which: str) -> None:
    """Attention takes the kernel that the CPU takes, forward and backward, and keeps the same tensors."""
    run, is_fused = ATTENTIONS[which]
    assert (FUSED in assert_same(nn.Identity, run)) is is_fused


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 5, 8), (4, 7, 8), {}), (Q, (2, 2, 7, 8), {"enable_gqa": True}), ((5, 8), (7, 8), {}),
        ((4, 5, 8), (4, 7, 8), {"mask": lambda d: torch.ones(5, 7, dtype=torch.bool, device=d)}),
        ((4, 5, 8), (4, 7, 8), {"mask": lambda d: torch.ones(4, 5, 7, device=d)}),
        ((4, 5, 8), (4, 7, 8), {"dropout_p": 0.1}),
    ],
)  # fmt: skip
def test_attention_that_releases_of_torch_run_otherwise(shapes: tuple[Any, Any, dict[str, Any]]) -> None:
    """Three dimensions and grouped queries: whatever the running torch does with them."""
    q, kv, options = shapes
    assert_same(nn.Identity, attention(q, kv, **options))


def test_the_kernel_that_the_user_asks_for() -> None:
    """``sdpa_kernel`` and the flags of torch.backends decide as in a real run."""
    names = assert_same(nn.Identity, attention(Q, KV), lambda: sdpa_kernel(SDPBackend.MATH))
    assert FUSED not in names
    names = assert_same(nn.Identity, attention(Q, KV), lambda: sdpa_kernel(SDPBackend.FLASH_ATTENTION))
    assert FUSED in names


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{"need_weights": False}, {}])
def test_multi_head_attention(training: bool, options: dict[str, Any]) -> None:
    """torch.nn's own layer, whose parameters need gradients: no kernel for inference."""

    def make() -> nn.Module:
        return nn.MultiheadAttention(8, 2, dropout=0.1 if training else 0.0, batch_first=True).train(training)

    def run(model: nn.Module, device: str) -> Tensor:
        x = leaf(device, 2, 5, 8)
        y: Tensor = model(x, x, x, **options)[0]
        return y.sum()

    assert_same(make, run)


@pytest.mark.parametrize("training", [True, False])
def test_transformer_encoder(training: bool) -> None:
    """In evaluation mode, too, where torch.nn has a fast path that autograd forbids."""

    def make() -> nn.Module:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).train(training)

    assert_same(make, lambda model, device: model(leaf(device, 2, 5, 8)).sum())


def recurrent(
    kind: str, *, output: int = 0, dtype: torch.dtype = torch.float32, **options: Any
) -> tuple[Callable[[], nn.Module], Callable[[nn.Module, str], Tensor]]:
    """A recurrent layer, and a call of it; ``output``: 1 is the state at the end."""
    of_kind = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}

    def make() -> nn.Module:
        return of_kind[kind](3, 4, dtype=dtype, **options)

    def run(model: nn.Module, device: str) -> Tensor:
        found = model(leaf(device, 5, 2, 3, dtype=dtype))[output]
        return (found[0] if isinstance(found, tuple) else found).sum()

    return make, run


LAYERS: list[dict[str, Any]] = [
    {}, {"bidirectional": True, "num_layers": 2}, {"batch_first": True, "dropout": 0.5, "num_layers": 3},
    {"bias": False, "num_layers": 2, "batch_first": True},
]  # fmt: skip


@pytest.mark.parametrize("options", LAYERS, ids=str)
@pytest.mark.parametrize("output", [0, 1])
def test_an_lstm_is_a_layer_of_onednn(options: dict[str, Any], output: int) -> None:
    """One op for each layer and direction, whose workspace autograd keeps, as the CPU has it."""
    names = assert_same(*recurrent("LSTM", output=output, **options))
    assert names.count(LAYER) == options.get("num_layers", 1) * (1 + options.get("bidirectional", False))


@pytest.mark.parametrize("options", [{"proj_size": 2, "batch_first": True}, {"dtype": torch.float64}], ids=str)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_an_lstm_that_onednn_does_not_take(options: dict[str, Any]) -> None:
    """Projected or in double precision it is done step by step, all inputs multiplied before."""
    assert LAYER not in assert_same(*recurrent("LSTM", **options))


def test_an_lstm_without_onednn() -> None:
    """Where oneDNN is switched off, step by step."""
    torch._C._set_mkldnn_enabled(False)
    try:
        assert LAYER not in assert_same(*recurrent("LSTM"))
    finally:
        torch._C._set_mkldnn_enabled(True)


@pytest.mark.parametrize("options", LAYERS, ids=str)
@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_other_recurrent_layers(kind: str, options: dict[str, Any]) -> None:
    """Step by step, the input of all steps multiplied at once."""
    for output in (0, 1):
        assert_same(*recurrent(kind, output=output, **options))
    if kind == "RNN":
        assert_same(*recurrent(kind, nonlinearity="relu", **options))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "num_layers": 2, "dropout": 0.5}, {"bias": False}], ids=str
)
def test_packed_sequences(kind: str, options: dict[str, Any]) -> None:
    """Sequences of several lengths leave the batch, and join it from behind."""
    make, _ = recurrent(kind, **options)

    def run(model: nn.Module, device: str) -> Tensor:
        packed, state = model(PackedSequence(leaf(device, 9, 3), torch.tensor([3, 2, 2, 1, 1])))
        return packed.data.sum() + (state[0] if kind == "LSTM" else state).sum()

    assert_same(make, run)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells(cell: type[nn.Module]) -> None:
    """A single step."""

    def run(model: nn.Module, device: str) -> Tensor:
        y = model(leaf(device, 5, 3))
        return (y[0] if isinstance(y, tuple) else y).sum()

    assert_same(lambda: cell(3, 4), run)


# -- on a GPU ------------------------------------------------------------------------------------------------------

FLASH = "aten._scaled_dot_product_flash_attention.default"
EFFICIENT = "aten._scaled_dot_product_efficient_attention.default"
HALF = torch.bfloat16
ON_CUDA: dict[str, tuple[Callable[[nn.Module, str], Tensor], str | None]] = {
    "single precision": (attention(Q, KV), EFFICIENT),
    "half": (attention(Q, KV, dtype=HALF), FLASH),
    "half, dropout": (attention(Q, KV, dtype=HALF, dropout_p=0.1), FLASH),
    "half, causal": (attention(Q, Q, dtype=HALF, is_causal=True), FLASH),
    "half, causal, of other keys": (attention(Q, KV, dtype=HALF, is_causal=True), EFFICIENT),
    "half, mask": (attention(Q, KV, lambda d: torch.ones(5, 7, dtype=torch.bool, device=d), dtype=HALF), EFFICIENT),
    "half, odd width": (attention((2, 4, 5, 6), (2, 4, 7, 6), dtype=HALF), FLASH),
    "half, wider than 256": (attention((2, 4, 5, 264), (2, 4, 7, 264), dtype=HALF), EFFICIENT),
    "half, groups": (attention(Q, (2, 2, 7, 8), dtype=HALF, enable_gqa=True), FLASH),
    "single precision, odd width": (attention((2, 4, 5, 6), (2, 4, 7, 6)), None),
    "single precision, groups": (attention(Q, (2, 2, 7, 8), enable_gqa=True), None),
    "double precision": (attention(Q, KV, dtype=torch.float64), None),
    "three dimensions": (attention((4, 5, 8), (4, 7, 8), dtype=HALF), None),
}


@pytest.mark.parametrize("which", ON_CUDA)
def test_attention_on_a_gpu(which: str) -> None:
    """By the conditions of torch's sdp_utils.cpp, for a GPU since Ampere: fused kernels, else matrix products."""
    run, expected = ON_CUDA[which]
    with above_autograd("cuda"), Log() as log:
        run(nn.Identity(), "meta").backward()  # type: ignore[no-untyped-call]  # torch has not annotated it
    fused = [name for name, _ in log.ops if name in (FLASH, EFFICIENT)]
    assert fused == ([] if expected is None else [expected])
    gradients = [name for name, _ in log.ops if name.endswith("attention_backward.default")]
    assert len(gradients) == len(fused)


def test_dropout_on_a_gpu() -> None:
    """One kernel that keeps a byte an element, where the CPU keeps the factor of each."""

    def kept(device: str) -> int:
        saved: list[Tensor] = []
        x = leaf("meta", 100)
        with above_autograd(device), torch.autograd.graph.saved_tensors_hooks(saved.append, saved.__getitem__):
            F.dropout(x * 1, 0.5)
        return sum(t.nbytes for t in saved if t.nbytes > 8)

    assert (kept("cuda"), kept("cpu")) == (100, 400)


# -- the context ---------------------------------------------------------------------------------------------------


def names_of(run: Callable[[], Any]) -> list[str]:
    """The ops that a function runs."""
    with Log() as log:
        run()
    return [name for name, _ in log.ops]


def attend() -> Tensor:
    """Attention on meta, which is one op within the context alone."""
    return F.scaled_dot_product_attention(*[leaf("meta", *Q)] * 3)


def test_nothing_is_left_behind() -> None:
    """Outside of the context, in other threads, and after an error, torch does what it does."""
    assert FUSED not in names_of(attend)
    found: list[list[str]] = []
    with above_autograd("cpu"):
        assert FUSED in names_of(attend)
        thread = threading.Thread(target=lambda: found.append(names_of(attend)))
        thread.start()
        thread.join()
        with above_autograd("cpu"):
            assert FUSED in names_of(attend)
        assert FUSED in names_of(attend)
    with pytest.raises(ZeroDivisionError), above_autograd("cpu"):
        raise ZeroDivisionError
    assert FUSED not in names_of(attend)
    assert FUSED not in found[0]


def test_a_profile_within_is_as_ever() -> None:
    """A trace below autograd has composite ops whole, also where a step is being traced."""
    model = nn.LSTM(3, 4)
    expected = costmodel.profile(model, (5, 2, 3))
    with above_autograd("cpu"):
        assert costmodel.profile(model, (5, 2, 3)).ops.equals(expected.ops)


def test_a_gradient_that_is_one_kernel_on_devices_is_one_op() -> None:
    """Mish's comes apart for meta tensors alone."""
    names = assert_same(nn.Identity, lambda _, device: F.mish(leaf(device, 2, 3)).sum())
    assert "aten.mish_backward.default" in names


def test_without_gradients_an_lstm_keeps_nothing() -> None:
    """Where autograd is off, as in the first run of a checkpoint, oneDNN makes no workspace."""
    with above_autograd("cpu"), Log() as log, torch.no_grad():
        nn.LSTM(3, 4, device="meta")(leaf("meta", 5, 2, 3))
    (given,) = [given for name, given in log.ops if name == LAYER]
    assert given.endswith("None]")
