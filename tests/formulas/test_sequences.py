"""Attention and recurrent layers: their definitions run slowly, and the kernels of torch's own modules."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from costmodel import formulas as f
from tests.formulas.oracles import Number, Tally, elements, run, sigmoid, softmax, values


@pytest.mark.parametrize("masked", [True, False])
def test_attention_counts_its_definition(masked: bool) -> None:
    """Dot products, scale, mask, softmax and weighted sums, query by query."""
    tally = Tally()
    q, k, v = (torch.rand(1, 2, n, e, dtype=torch.float64) for n, e in ((3, 4), (5, 4), (5, 6)))
    mask = torch.rand(3, 5, dtype=torch.float64)
    out = []
    for head in range(2):
        for query in range(3):
            scores = [
                tally.dot(tally.numbers(q[0, head, query]), tally.numbers(k[0, head, key])) * 0.5 for key in range(5)
            ]
            if masked:
                scores = [s + mask[query, key].item() for key, s in enumerate(scores)]
            weights = softmax(scores)
            out.append(values([tally.dot(weights, tally.numbers(v[0, head, :, e])) for e in range(6)]))
    expected = F.scaled_dot_product_attention(q, k, v, mask if masked else None)
    assert torch.allclose(torch.stack(out).view(1, 2, 3, 6), expected)
    cost = f.scaled_dot_product_attention(
        heads=2, queries=3, keys=5, head_dim=4, value_dim=6, mask="float" if masked else None
    )
    assert cost.output_shape == expected.shape
    assert cost.work == tally.work
    assert cost.read == q.numel() + k.numel() + v.numel() + (15 if masked else 0)
    assert cost.written == expected.numel()


def test_grouped_queries_share_keys_and_values() -> None:
    """With fewer heads for keys and values the products stay, and less is read."""
    arguments = {"heads": 8, "queries": 5, "keys": 7, "head_dim": 4, "batch": 3}
    whole, shared = (f.scaled_dot_product_attention(**arguments, kv_heads=n) for n in (8, 2))
    assert shared.work == whole.work
    assert whole.read - shared.read == 3 * 6 * 7 * (4 + 4)


def test_a_causal_mask_is_no_arithmetic() -> None:
    """The whole of L x S is computed, then selected from."""
    arguments = {"heads": 2, "queries": 5, "keys": 5, "head_dim": 4}
    plain = f.scaled_dot_product_attention(**arguments)
    assert f.scaled_dot_product_attention(**arguments, is_causal=True) == plain
    assert f.scaled_dot_product_attention(**arguments, mask="bool").work == plain.work
    dropped = f.scaled_dot_product_attention(**arguments, training=True, dropout_p=0.1)
    assert dropped.flops - plain.flops == 2 * 2 * 25


L, S, N = 5, 7, 2
MULTI_HEAD: dict[str, dict[str, Any]] = {
    "self": {},
    "self, no bias": {"bias": False},
    "self, batch first": {"batch_first": True},
    "self, batch first, no bias": {"batch_first": True, "bias": False},
    "self, weights per head": {"average_attn_weights": False},
    "shared": {"inputs": "shared_key_value"},
    "shared, batch first": {"inputs": "shared_key_value", "batch_first": True},
    "distinct": {"inputs": "distinct"},
    "own widths": {"inputs": "distinct", "kdim": 3, "vdim": 6},
    "own widths, batch first": {"inputs": "distinct", "kdim": 3, "vdim": 6, "batch_first": True},
    "float mask": {"attn_mask": "float"},
    "bool mask": {"attn_mask": "bool"},
    "mask per head": {"attn_mask": "float", "attn_mask_per_head": True},
    "padding mask": {"key_padding_mask": "bool"},
    "both masks": {"key_padding_mask": "bool", "attn_mask": "bool", "inputs": "distinct"},
    "causal": {"attn_mask": "bool", "is_causal": True},
    "one sample": {"batch": 1},
    "one query": {"queries": 1, "inputs": "shared_key_value"},
    "one sample, batch first": {"batch": 1, "batch_first": True},
    "one head": {"num_heads": 1},
    "a learnt key": {"add_bias_kv": True},
    "a zero key": {"add_zero_attn": True, "inputs": "shared_key_value", "bias": False},
    "both further keys": {"add_bias_kv": True, "add_zero_attn": True, "inputs": "distinct", "kdim": 3},
    "further keys, masks": {
        "add_bias_kv": True, "add_zero_attn": True, "inputs": "distinct",
        "attn_mask": "bool", "key_padding_mask": "bool",
    },
    "further keys, mask per head": {
        "add_bias_kv": True, "add_zero_attn": True, "attn_mask": "float", "attn_mask_per_head": True,
    },
    "a learnt key, one sample": {"add_bias_kv": True, "batch": 1, "key_padding_mask": "float"},
    "a zero key, one sample": {"add_zero_attn": True, "batch": 1, "attn_mask": "bool", "key_padding_mask": "bool"},
    "one sample, masks": {"batch": 1, "attn_mask": "float", "key_padding_mask": "float"},
    "one sample, as many heads as channels": {"batch": 1, "num_heads": 8},
}  # fmt: skip


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("name", MULTI_HEAD)
def test_multi_head_attention_is_torchs(name: str, need_weights: bool) -> None:
    """Parameters, MACs and the traffic of every kernel are those of nn.MultiheadAttention."""
    options = {"queries": L, "batch": N, "num_heads": 4, "inputs": "self", **MULTI_HEAD[name]}
    keys = options["queries"] if options["inputs"] == "self" else S
    first = options.get("batch_first", False)
    module = nn.MultiheadAttention(
        8,
        options["num_heads"],
        bias=options.get("bias", True),
        batch_first=first,
        kdim=options.get("kdim"),
        vdim=options.get("vdim"),
        add_bias_kv=options.get("add_bias_kv", False),
        add_zero_attn=options.get("add_zero_attn", False),
    ).eval()
    assert module.in_proj_weight is None or module.in_proj_weight.requires_grad

    def tensor(length: int, width: int | None) -> torch.Tensor:
        shape = (options["batch"], length) if first else (length, options["batch"])
        return torch.rand(*shape, width or 8)

    query = tensor(options["queries"], 8)
    key = query if options["inputs"] == "self" else tensor(keys, options.get("kdim"))
    value = tensor(keys, options.get("vdim")) if options["inputs"] == "distinct" else key
    masks: dict[str, Any] = {"is_causal": options.get("is_causal", False)}
    shape = (options["queries"], keys)
    if options.get("attn_mask_per_head"):
        shape = (options["batch"] * options["num_heads"], *shape)
    for mask, of in (("attn_mask", shape), ("key_padding_mask", (options["batch"], keys))):
        if kind := options.get(mask):
            masks[mask] = torch.zeros(of, dtype=torch.bool if kind == "bool" else torch.float32)
    asked = {"need_weights": need_weights, "average_attn_weights": options.get("average_attn_weights", True)}
    (y, _), kernels = run(module, query, key, value, **masks, **asked)

    # torch's fused kernel on the CPU keeps the query's layout, so nothing is copied back.
    cost = f.multi_head_attention(embed_dim=8, keys=keys, need_weights=need_weights, transposed_output=True, **options)
    assert cost.output_shape == y.shape
    assert cost.params == elements(module.parameters())
    assert (cost.read, cost.written) == (kernels.read, kernels.written)
    # torch's counter knows no fused kernel on the CPU; the products are the same where each is a kernel.
    with FlopCounterMode(display=False) as counter:
        run(module, query, key, value, **masks, need_weights=True)
    assert 2 * cost.macs == counter.get_total_flops()


@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_attention_is_arithmetic_of_its_parts(need_weights: bool) -> None:
    """Projections, attention, and the mean over heads; kernel by kernel it is the queries that are scaled."""
    cost = f.multi_head_attention(
        embed_dim=8, num_heads=4, queries=L, keys=S, batch=N, need_weights=need_weights, inputs="distinct",
        attn_mask="float",
    )  # fmt: skip
    projections = [f.linear(in_features=8, out_features=8, rows=N * n).flops for n in (L, S, S, L)]
    attention = f.scaled_dot_product_attention(heads=4, queries=L, keys=S, head_dim=2, batch=N, mask="float").flops
    scores = N * 4 * L * S
    extra = L * N * 8 - scores + N * L * S * 4 if need_weights else 0
    assert cost.flops == sum(projections) + attention + extra


@pytest.mark.parametrize("width", ["kdim", "vdim"])
def test_keys_or_values_of_a_width_of_their_own_are_inputs_of_their_own(width: str) -> None:
    """Either one keeps torch from multiplying by the packed weights, whatever the inputs are called."""
    arguments = {"embed_dim": 8, "num_heads": 4, "queries": L, "keys": S, width: 3}
    cost = f.multi_head_attention(**arguments)
    assert cost == f.multi_head_attention(**arguments, inputs="distinct")
    module = nn.MultiheadAttention(8, 4, **{width: 3})
    assert cost.params == elements(module.parameters())


def test_multi_head_attention_copies_a_contiguous_result_back() -> None:
    """Where the one attention kernel writes (N, H, L, E / H), going back to (L, N, E) is a copy."""
    arguments = {"embed_dim": 8, "num_heads": 4, "queries": L, "batch": N, "need_weights": False}
    copied = f.multi_head_attention(**arguments)
    assert copied.memory_access - f.multi_head_attention(**arguments, transposed_output=True).memory_access == 2 * 80


def test_multi_head_attention_with_further_keys_by_hand() -> None:
    """A learnt key and value of 4 numbers; 3 queries and 2 samples attend to 4 keys, and with zeros to 5."""
    arguments = {"embed_dim": 4, "num_heads": 2, "queries": 3, "batch": 2, "need_weights": False}
    plain = f.multi_head_attention(**arguments)
    learnt = f.multi_head_attention(**arguments, add_bias_kv=True)
    both = f.multi_head_attention(**arguments, add_bias_kv=True, add_zero_attn=True)
    # In-projection 12 x 4 + 12, out-projection 4 x 4 + 4; then bias_k and bias_v.
    assert (plain.params, learnt.params, both.params) == (80, 88, 88)
    # Projections: 6 rows x (48 + 16). Attention: 2 x (6 rows x keys x 4 channels).
    assert (plain.macs, learnt.macs, both.macs) == (384 + 144, 384 + 192, 384 + 240)
    # Keys, and so values: a row repeated (4 read, 8 written), 4 rows of 8 joined (32 and 32), read once more (8).
    assert learnt.memory_access - plain.memory_access == 2 * (4 + 8 + 32 + 32 + 8)
    # Zeros (8 written), 5 rows of 8 joined (40 and 40), read once more (8).
    assert both.memory_access - learnt.memory_access == 2 * (8 + 40 + 40 + 8)


def test_a_further_key_pads_the_masks_by_a_copy() -> None:
    """A mask of 3 x 3 becomes one of 3 x 4, and a padding mask of 2 x 3 one of 2 x 4."""
    arguments = {"embed_dim": 4, "num_heads": 2, "queries": 3, "batch": 2, "need_weights": False}

    def moved(**mask: Any) -> int:
        plain, learnt = (f.multi_head_attention(**arguments, **mask, add_bias_kv=more) for more in (False, True))
        return learnt.memory_access - plain.memory_access

    further = moved()
    # Padded (9 and 12), and 12 instead of 9 read.
    assert moved(attn_mask="float") - further == 9 + 12 + 3
    # Padded (6 and 8), then expanded to 4 x 4 instead of 4 x 3 (8 and 16 for 6 and 12); attention reads 4 more.
    assert moved(key_padding_mask="float") - further == 6 + 8 + (2 + 4) + 4


def test_multi_head_attention_of_torch_2_6_copies_back_what_is_a_view() -> None:
    """One sample, and as many heads as channels: the result's rows are columns, which needs no copy."""
    arguments = {"embed_dim": 8, "num_heads": 8, "queries": L, "batch": 1}
    views = f.multi_head_attention(**arguments)
    assert f.multi_head_attention(**arguments, always_copied_back=True).memory_access - views.memory_access == 2 * 40


def test_multi_head_attention_drops_weights_in_training() -> None:
    """Dropout multiplies every weight twice; as a kernel of its own it moves them, inside the fused one it does not."""
    arguments = {"embed_dim": 8, "num_heads": 4, "queries": L, "batch": N, "dropout_p": 0.1}
    for need_weights, moved in ((True, 3), (False, 0)):
        plain, dropped = (
            f.multi_head_attention(**arguments, need_weights=need_weights, training=t) for t in (False, True)
        )
        weights = N * 4 * L * L
        assert dropped.flops - plain.flops == 2 * weights
        assert dropped.memory_access - plain.memory_access == moved * weights


def test_multi_head_attention_refuses_heads_that_do_not_divide() -> None:
    """The width is split evenly over the heads."""
    with pytest.raises(ValueError, match="embed_dim=8 is not divisible by num_heads=3"):
        f.multi_head_attention(embed_dim=8, num_heads=3, queries=1)


def lines(tally: Tally, weights: torch.Tensor, bias: torch.Tensor | None, x: list[Number]) -> list[Number]:
    """W x, or W x + b."""
    ys = [tally.dot(tally.numbers(row), x) for row in weights]
    return ys if bias is None else [y + b.item() for y, b in zip(ys, bias, strict=True)]


def tanh(x: Number) -> Number:
    """One transcendental function."""
    return x.tally.call(math.tanh, x)


def cell_step(tally: Tally, module: nn.RNNBase, at: str, x: list[Number], h: list[Number], c: list[Number]) -> None:
    """One cell, one step: h and c are replaced in place."""
    get = lambda name: getattr(module, f"{name}_{at}", None)  # noqa: E731
    size = module.hidden_size
    mine = lines(tally, get("weight_ih"), get("bias_ih"), x)
    theirs = lines(tally, get("weight_hh"), get("bias_hh"), h)
    if module.mode == "GRU":
        r = [sigmoid(a + b) for a, b in zip(mine[:size], theirs[:size], strict=True)]
        z = [sigmoid(a + b) for a, b in zip(mine[size : 2 * size], theirs[size : 2 * size], strict=True)]
        n = [tanh(a + g * b) for a, b, g in zip(mine[2 * size :], theirs[2 * size :], r, strict=True)]
        h[:] = [(1 - g) * new + g * old for g, new, old in zip(z, n, h, strict=True)]
        return
    sums = [a + b for a, b in zip(mine, theirs, strict=True)]
    if module.mode != "LSTM":
        h[:] = [tanh(s) if module.mode == "RNN_TANH" else tally.larger(s, tally.number(0)) for s in sums]
        return
    i, forget, g, o = (sums[at * size : (at + 1) * size] for at in range(4))
    c[:] = [sigmoid(a) * old + sigmoid(b) * tanh(new) for a, old, b, new in zip(forget, c, i, g, strict=True)]
    shown = [sigmoid(a) * tanh(b) for a, b in zip(o, c, strict=True)]
    h[:] = lines(tally, get("weight_hr"), None, shown) if module.proj_size else shown


RECURRENT: dict[str, tuple[type[nn.RNNBase], Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, f.lstm, {}),
    "lstm, no bias": (nn.LSTM, f.lstm, {"bias": False}),
    "lstm, stacked both ways": (nn.LSTM, f.lstm, {"num_layers": 3, "bidirectional": True}),
    "lstm, projected": (nn.LSTM, f.lstm, {"num_layers": 2, "proj_size": 2, "bidirectional": True}),
    "gru": (nn.GRU, f.gru, {}),
    "gru, stacked both ways": (nn.GRU, f.gru, {"num_layers": 2, "bidirectional": True, "bias": False}),
    "rnn": (nn.RNN, f.rnn, {"num_layers": 2}),
    "rnn, relu": (nn.RNN, f.rnn, {"nonlinearity": "relu", "bidirectional": True}),
}


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_recurrent_layer_counts_its_cells(name: str) -> None:
    """Every cell at every step, run on counted numbers: the work, and the values of torch's own module."""
    make, formula, options = RECURRENT[name]
    length, batch, inputs, hidden = 3, 2, 3, 4
    module = make(inputs, hidden, **options).double().requires_grad_(False)
    x = torch.rand(length, batch, inputs, dtype=torch.float64)
    expected, _ = module(x)
    tally = Tally()
    shown = module.proj_size or hidden
    rows = [[tally.numbers(x[t, b]) for b in range(batch)] for t in range(length)]
    for layer in range(module.num_layers):
        outputs: list[list[list[Number]]] = [[[] for _ in range(batch)] for _ in range(length)]
        for direction in range(1 + module.bidirectional):
            for b in range(batch):
                h, c = tally.numbers([0] * shown), tally.numbers([0] * hidden)
                for t in reversed(range(length)) if direction else range(length):
                    cell_step(tally, module, f"l{layer}" + "_reverse" * direction, rows[t][b], h, c)
                    outputs[t][b] = outputs[t][b] + h
        rows = outputs
    assert torch.allclose(torch.stack([torch.stack([values(r) for r in step]) for step in rows]), expected)
    cost = formula(input_size=inputs, hidden_size=hidden, length=length, batch=batch, **options)
    assert cost.output_shape == expected.shape
    assert cost.params == elements(module.parameters())
    assert cost.work == tally.work


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_recurrent_layer_moves_states_and_weights_once(name: str) -> None:
    """x, states and weights are read, output and states written; states that are not given are made first."""
    make, formula, options = RECURRENT[name]
    module = make(3, 4, batch_first=True, **options)
    x = torch.rand(2, 5, 3)
    with torch.no_grad():
        y, states = module(x)
    kept = sum(s.numel() for s in (states if isinstance(states, tuple) else (states,)))
    arguments = {"input_size": 3, "hidden_size": 4, "length": 5, "batch": 2, "batch_first": True, **options}
    given, made = formula(**arguments, hx_given=True), formula(**arguments)
    assert given.output_shape == y.shape
    assert given.read == x.numel() + kept + elements(module.parameters())
    assert given.written == y.numel() + kept
    assert (made.read, made.written) == (given.read, given.written + kept)


def test_recurrent_dropout_lies_between_layers() -> None:
    """In training the outputs of every layer but the last are masked and scaled."""
    arguments = {"input_size": 3, "hidden_size": 4, "length": 5, "batch": 2, "num_layers": 3, "dropout": 0.5}
    plain, dropped = (f.gru(**arguments, training=t) for t in (False, True))
    assert dropped.flops - plain.flops == 2 * 2 * (5 * 2 * 4)
    assert dropped.memory_access == plain.memory_access
