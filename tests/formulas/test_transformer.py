"""Transformers: the paper's equations run slowly, torch's own kernels, published sizes, and proofs for all sizes."""

from __future__ import annotations

from typing import Any

import pytest
import sympy
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from costmodel import formulas as f
from tests.formulas.oracles import Number, Tally, elements, run, softmax, values
from tests.formulas.test_arithmetic import standardised
from tests.formulas.test_carriers import symbols

Rows = list[list[Number]]

E, H, F, S, T, N = 4, 2, 6, 3, 2, 2
"""Width, heads, hidden width, source, target, samples."""
SIZES: dict[str, Any] = {"d_model": E, "nhead": H, "dim_feedforward": F, "batch": N}


# -- the definition, run slowly ----------------------------------------------------------------------------------


class Slowly:
    """The equations of Vaswani et al., sections 3.1 to 3.3, on numbers that count what is done with them."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer.requires_grad_(False)
        self.tally = Tally()

    def linear(self, weight: torch.Tensor, bias: torch.Tensor, xs: Rows) -> Rows:
        """x W^T + b, row by row."""
        ws = [self.tally.numbers(row) for row in weight]
        return [[self.tally.dot(w, x) + b.item() for w, b in zip(ws, bias, strict=True)] for x in xs]

    def attention(self, name: str, xs: Rows, ys: Rows) -> Rows:
        """Of each x to all y: heads, softmax(q k / sqrt(d)) v, joined and projected."""
        module = getattr(self.layer, name)
        weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
        q, k, v = (self.linear(w, b, of) for w, b, of in zip(weights, biases, (xs, ys, ys), strict=True))
        size = E // H
        joined: Rows = [[] for _ in xs]
        for head in range(H):
            part = slice(head * size, (head + 1) * size)
            for row, query in zip(joined, q, strict=True):
                scores = softmax([self.tally.dot(query[part], key[part]) * size**-0.5 for key in k])
                row += [self.tally.dot(scores, [value[part][i] for value in v]) for i in range(size)]
        return self.linear(module.out_proj.weight, module.out_proj.bias, joined)

    def feed_forward(self, xs: Rows) -> Rows:
        """max(0, x W1 + b1) W2 + b2."""
        zero = self.tally.number(0)
        first, second = self.layer.get_submodule("linear1"), self.layer.get_submodule("linear2")
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        hidden = [[self.tally.larger(x, zero) for x in row] for row in self.linear(first.weight, first.bias, xs)]
        return self.linear(second.weight, second.bias, hidden)

    def norm(self, xs: Rows) -> Rows:
        """Layer normalisation, whose weights are ones and biases zeros."""
        return [standardised(row, weight=1.0, bias=0.0) for row in xs]

    def residual(self, xs: Rows, of: Any) -> Rows:
        """x + sublayer(x), normalised before or after."""
        before = self.layer.norm_first
        ys = of(self.norm(xs) if before else xs)
        added = [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(xs, ys, strict=True)]
        return added if before else self.norm(added)

    def run(self, source: torch.Tensor, memory: torch.Tensor | None) -> torch.Tensor:
        """The whole layer on one sample."""
        xs = self.residual([self.tally.numbers(row) for row in source], lambda x: self.attention("self_attn", x, x))
        if memory is not None:
            ys = [self.tally.numbers(row) for row in memory]
            xs = self.residual(xs, lambda x: self.attention("multihead_attn", x, ys))
        return torch.stack([values(row) for row in self.residual(xs, self.feed_forward)])


@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_layer_counts_its_definition(norm_first: bool) -> None:
    """Self-attention, a network of two layers, residuals and norms: every operation of two samples."""
    layer = nn.TransformerEncoderLayer(E, H, F, 0.0, norm_first=norm_first, batch_first=True, dtype=torch.float64)
    x = torch.rand(N, S, E, dtype=torch.float64)
    slow = Slowly(layer)
    found = torch.stack([slow.run(sample, None) for sample in x])
    assert torch.allclose(found, layer(x))
    cost = f.transformer_encoder_layer(**SIZES, length=S, norm_first=norm_first, batch_first=True)
    assert cost.work == slow.tally.work
    assert cost.output_shape == found.shape


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_decoder_layer_counts_its_definition(norm_first: bool) -> None:
    """With attention to the encoder's output in between, which has another length."""
    layer = nn.TransformerDecoderLayer(E, H, F, 0.0, norm_first=norm_first, batch_first=True, dtype=torch.float64)
    x, memory = (torch.rand(N, n, E, dtype=torch.float64) for n in (T, S))
    slow = Slowly(layer)
    found = torch.stack([slow.run(*samples) for samples in zip(x, memory, strict=True)])
    assert torch.allclose(found, layer(x, memory))
    cost = f.transformer_decoder_layer(**SIZES, length=T, memory_length=S, norm_first=norm_first, batch_first=True)
    assert cost.work == slow.tally.work
    assert cost.output_shape == found.shape


# -- torch's own kernels -----------------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "norm first": {"norm_first": True},
    "no bias": {"bias": False},
    "gelu": {"activation": "gelu"},
    "batch first": {"batch_first": True},
    "no batch": {"batched": False},
    "dropout at inference": {"dropout_p": 0.1},
    "bool masks": {"mask": "bool"},
    "float masks": {"mask": "float"},
    "masks per head": {"mask": "float", "per_head": True},
    "bool masks per head": {"mask": "bool", "per_head": True},
    "bool padding": {"padding": "bool"},
    "float padding": {"padding": "float"},
    "both": {"mask": "bool", "padding": "bool"},
    "both, no batch": {"mask": "bool", "padding": "bool", "batched": False},
    "causal": {"mask": "bool", "is_causal": True},
    "stated not to be causal": {"mask": "float", "is_causal": False},
}
KINDS = {"bool": torch.bool, "float": torch.float32}


class Case:
    """A way to call a transformer, as torch and as the formulas take it."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = {"dropout_p": 0.0, **options}
        self.mask_kind, self.padding_kind = self.options.pop("mask", None), self.options.pop("padding", None)
        self.per_head = self.options.pop("per_head", False)
        self.is_causal = self.options.pop("is_causal", None)
        self.batched = self.options.get("batched", True)
        self.batch = N if self.batched else 1

    def layer(self, kind: Any, **counts: int) -> nn.Module:
        """A layer, or a whole transformer, with these options."""
        own = {k: v for k, v in self.options.items() if k not in ("batched", "dropout_p")}
        module: nn.Module = kind(E, H, dim_feedforward=F, dropout=self.options["dropout_p"], **own, **counts)
        return module

    def sequence(self, length: int) -> torch.Tensor:
        """A sequence of that length."""
        if not self.batched:
            return torch.rand(length, E)
        return torch.rand(*((N, length) if self.options.get("batch_first") else (length, N)), E)

    def masks(self, mask: str, padding: str, is_causal: str, queries: int, keys: int) -> dict[str, Any]:
        """The masks of one attention for torch, under these names."""
        given: dict[str, Any] = {}
        if self.mask_kind:
            shape = (self.batch * H, queries, keys) if self.per_head else (queries, keys)
            given[mask] = torch.zeros(shape, dtype=KINDS[self.mask_kind])
            if self.is_causal is not None:
                given[is_causal] = self.is_causal
        if self.padding_kind:
            shape = (self.batch, keys) if self.batched else (keys,)
            given[padding] = torch.zeros(shape, dtype=KINDS[self.padding_kind])
        return given

    def of_source(self, mask: str = "src_mask", is_causal: str = "is_causal") -> dict[str, Any]:
        """The masks of an encoder."""
        return self.masks(mask, "src_key_padding_mask", is_causal, S, S)

    def of_target(self) -> dict[str, Any]:
        """The masks of a decoder."""
        own = self.masks("tgt_mask", "tgt_key_padding_mask", "tgt_is_causal", T, T)
        return own | self.masks("memory_mask", "memory_key_padding_mask", "memory_is_causal", T, S)

    def closed(self, formula: Any, given: dict[str, Any], **sizes: Any) -> f.BlockCost:
        """The closed form of a call with these tensors."""
        words = {k: v for k, v in given.items() if not isinstance(v, torch.Tensor)}
        for name, mask in given.items():
            if isinstance(mask, torch.Tensor):
                words[name] = "bool" if mask.dtype is torch.bool else "float"
                if "padding" not in name:
                    words[f"{name}_per_head"] = mask.dim() == 3
        common = {**SIZES, "batch": self.batch, **self.options}
        cost: f.BlockCost = formula(**common, **sizes, **words)
        return cost

    def check(
        self, module: nn.Module, inputs: tuple[torch.Tensor, ...], given: dict[str, Any], cost: Any, attentions: Any
    ) -> None:
        """Parameters, the output's shape, products, and the traffic of every kernel."""
        y, kernels = run(module.eval(), *inputs, **given)
        assert cost.output_shape == y.shape
        assert cost.params == elements(module.parameters())
        assert (cost.total.read, cost.total.written) == (kernels.read, kernels.written)
        # torch's counter knows no fused kernel on the CPU: products of attention are counted by hand.
        with FlopCounterMode(display=False) as counter:
            run(module, *inputs, **given)
        products = sum(self.batch * 4 * queries * keys * E for queries, keys in attentions)
        assert 2 * cost.macs == counter.get_total_flops() + products


@pytest.mark.parametrize("name", OPTIONS)
def test_an_encoder_layer_is_torchs(name: str) -> None:
    """Parameters and the traffic of every kernel are those of nn.TransformerEncoderLayer."""
    case = Case(OPTIONS[name])
    given = case.of_source()
    cost = case.closed(f.transformer_encoder_layer, given, length=S)
    case.check(case.layer(nn.TransformerEncoderLayer), (case.sequence(S),), given, cost, [(S, S)])


@pytest.mark.parametrize("name", OPTIONS)
def test_a_decoder_layer_is_torchs(name: str) -> None:
    """Parameters and the traffic of every kernel are those of nn.TransformerDecoderLayer."""
    case = Case(OPTIONS[name])
    given = case.of_target()
    cost = case.closed(f.transformer_decoder_layer, given, length=T, memory_length=S)
    case.check(
        case.layer(nn.TransformerDecoderLayer), (case.sequence(T), case.sequence(S)), given, cost,
        [(T, T), (T, S)],
    )  # fmt: skip


LAYERS = 2


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_encoder_is_torchs(name: str, norm: bool) -> None:
    """Two layers; bool masks are made float once, and a mask of unknown kind is compared with a causal one."""
    case = Case(OPTIONS[name])
    given = case.of_source("mask")
    stated = given.get("is_causal") is not None
    cost = case.closed(f.transformer_encoder, given, length=S, num_layers=LAYERS, norm=norm, detects_causal=not stated)
    last = nn.LayerNorm(E, bias=case.options.get("bias", True)) if norm else None
    module = nn.TransformerEncoder(case.layer(nn.TransformerEncoderLayer), LAYERS, last)  # type: ignore[arg-type]
    case.check(module, (case.sequence(S),), given, cost, [(S, S)] * LAYERS)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_decoder_is_torchs(name: str, norm: bool) -> None:
    """Two layers, of which each makes bool masks float for itself."""
    case = Case(OPTIONS[name])
    given = case.of_target()
    stated = given.get("tgt_is_causal") is not None
    cost = case.closed(
        f.transformer_decoder, given, length=T, memory_length=S, num_layers=LAYERS, norm=norm,
        detects_causal=not stated,
    )  # fmt: skip
    last = nn.LayerNorm(E, bias=case.options.get("bias", True)) if norm else None
    module = nn.TransformerDecoder(case.layer(nn.TransformerDecoderLayer), LAYERS, last)  # type: ignore[arg-type]
    case.check(module, (case.sequence(T), case.sequence(S)), given, cost, [(T, T), (T, S)] * LAYERS)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("name", OPTIONS)
def test_a_transformer_is_torchs(name: str) -> None:
    """One encoder layer, two decoder layers, and a norm behind each stack."""
    case = Case(OPTIONS[name])
    given = case.of_source(is_causal="src_is_causal") | case.of_target()
    counts = {"num_encoder_layers": 1, "num_decoder_layers": LAYERS}
    flags = {f"detects_{side}_causal": given.get(f"{side}_is_causal") is None for side in ("src", "tgt")}
    cost = case.closed(f.transformer, given, src_length=S, tgt_length=T, **counts, **flags)
    case.check(
        case.layer(nn.Transformer, **counts), (case.sequence(S), case.sequence(T)), given, cost,
        [(S, S), *[(T, T), (T, S)] * LAYERS],
    )  # fmt: skip


# -- by hand, and for all sizes ----------------------------------------------------------------------------------


def test_an_encoder_layer_by_hand() -> None:
    """Two tokens of two numbers, one head, three hidden numbers."""
    cost = f.transformer_encoder_layer(d_model=2, nhead=1, dim_feedforward=3, length=2)
    # In-projection 6 x 2 + 6, out 2 x 2 + 2, then 3 x 2 + 3 and 2 x 3 + 2, and two norms of 2 + 2.
    assert cost.params == 18 + 6 + 9 + 8 + 8
    # Two rows through 12 + 4 + 6 + 6 weights; 2 x 2 scores of 2, and as many products with the values.
    assert cost.macs == 2 * 28 + 8 + 8
    # Biases 2 (6 + 2 + 3 + 2), scale 4, softmax of 2 rows (1 cmp, 2 sub, 2 exp, 1 add, 2 div), 6 relus, 2 sums of 4;
    # each norm, of 2 rows: means 2, differences 2, squares 2, their mean 2, eps, rsqrt, scale 2, weights 2, biases 2.
    assert cost.flops == 2 * 72 + 26 + 4 + 2 * 8 + 6 + 8 + 2 * 2 * 16
    # Attention: 4 + 18 + 12, a copy of 12, q k v y of 4 each, 4 + 6 + 4; residuals 3 x 4; norms 4 + 4 + 4;
    # linear 4 + 9 + 6, relu 6 + 6, linear 6 + 8 + 4.
    attention = 34 + 24 + 16 + 14  # nothing is copied back: one head of one sample lies as it should
    assert cost["self_attn"].memory_access == attention
    assert cost.memory_access == attention + 2 * (12 + 12) + 19 + 12 + 18


def test_dropout_counts_in_training() -> None:
    """Of the two sublayers' results, of the hidden numbers and of the attention weights: 2 products each."""
    sizes = {**SIZES, "length": S, "dropout_p": 0.1}
    plain, dropped = (f.transformer_encoder_layer(**sizes, training=training) for training in (False, True))
    tensors = N * S * (2 * E + F)
    assert dropped.flops - plain.flops == 2 * (tensors + N * H * S * S)
    # Input, output and mask; the fused kernel cannot drop, so that its result is copied back.
    assert dropped.memory_access - plain.memory_access == 3 * tensors + 2 * N * S * E


def test_looking_whether_a_mask_is_causal_by_hand() -> None:
    """3 x 3 numbers: 9 filled, copied (18), compared with as many (27), all of them (10), which Python reads (1)."""
    sizes = {**SIZES, "length": S, "num_layers": 2}
    for mask, compared in ({"mask": "float"}, 1), ({"mask": "bool", "mask_per_head": True}, 0):
        stated, found = (f.transformer_encoder(**sizes, **mask, detects_causal=flag) for flag in (False, True))
        assert found.flops - stated.flops == 9 * compared
        assert found.memory_access - stated.memory_access == 9 + 18 + (27 + 10 + 1) * compared


def test_torch_2_6_copies_attention_back_in_a_layer_too() -> None:
    """One sample, as many heads as channels, and dropout: 3 x 4 numbers are read and written once more."""
    sizes = {**SIZES, "nhead": E, "batch": 1, "length": S, "training": True}
    views, copied = (f.transformer_encoder_layer(**sizes, always_copied_back=flag) for flag in (False, True))
    assert copied.memory_access - views.memory_access == 2 * 12


@pytest.mark.parametrize(
    ("d_model", "nhead", "dim_feedforward", "published"), [(512, 8, 2048, 65e6), (1024, 16, 4096, 213e6)]
)
def test_the_papers_models_have_their_parameters(
    d_model: int, nhead: int, dim_feedforward: int, published: float
) -> None:
    """Table 3 of Vaswani et al.: base and big, with one embedding of 37,000 tokens shared by all (section 5.1)."""
    cost = f.transformer(d_model=d_model, nhead=nhead, dim_feedforward=dim_feedforward, src_length=25, tgt_length=25)
    assert cost.params + 37_000 * d_model == pytest.approx(published, rel=0.03)


def test_transformers_are_their_formulas_for_all_sizes() -> None:
    """Parameters and MACs are the polynomials of the docstrings."""
    heads, width, wide, source, target, batch, layers = symbols("h d f s t n l")
    e = heads * width
    common = {"d_model": e, "nhead": heads, "dim_feedforward": wide, "batch": batch}
    one = f.transformer_encoder_layer(**common, length=source)
    other = f.transformer_decoder_layer(**common, length=target, memory_length=source)
    macs = batch * (4 * source * e**2 + 2 * source**2 * e + 2 * source * e * wide)
    assert sympy.expand(one.macs - macs) == 0
    assert sympy.expand(one.params - (4 * e**2 + 2 * e * wide + 9 * e + wide)) == 0
    assert sympy.expand(other.params - (8 * e**2 + 2 * e * wide + 15 * e + wide)) == 0
    macs = 6 * target * e**2 + 2 * source * e**2 + 2 * target**2 * e + 2 * target * source * e + 2 * target * e * wide
    assert sympy.expand(other.macs - batch * macs) == 0
    encoder = f.transformer_encoder(**common, num_layers=layers, length=source, norm=True)
    decoder = f.transformer_decoder(**common, num_layers=layers, length=target, memory_length=source, norm=True)
    whole = f.transformer(
        **common, src_length=source, tgt_length=target, num_encoder_layers=layers, num_decoder_layers=layers
    )
    for name in ("params", "macs", "flops", "memory_access"):
        norms = [getattr(f.layer_norm(normalized_shape=e, rows=(n, batch)), name) for n in (source, target)]
        stacked = layers * getattr(one, name) + norms[0], layers * getattr(other, name) + norms[1]
        assert sympy.expand(getattr(encoder, name) - stacked[0]) == 0
        assert sympy.expand(getattr(decoder, name) - stacked[1]) == 0
        assert sympy.expand(getattr(whole, name) - sum(stacked)) == 0


def test_the_norms_place_changes_no_cost() -> None:
    """Before or after the residual, for all sizes."""
    heads, width, wide, source, batch = symbols("h d f s n")
    sizes = {"d_model": heads * width, "nhead": heads, "dim_feedforward": wide, "batch": batch, "length": source}
    first, last = (f.transformer_encoder_layer(**sizes, norm_first=flag) for flag in (True, False))
    assert [sympy.expand(getattr(first, n) - getattr(last, n)) for n in ("params", "flops", "memory_access")] == [0] * 3
    assert [name for name, _ in first.layers][:2] == ["norm1", "self_attn"]
    assert [name for name, _ in last.layers][:2] == ["self_attn", "dropout1"]


def test_a_transformer_refuses_what_does_not_fit() -> None:
    """Two samples without a batch dimension, heads that do not divide, an unknown activation."""
    with pytest.raises(ValueError, match="batch=2 with batched=False: without a batch dimension there is one sample"):
        f.transformer_encoder_layer(**SIZES, length=S, batched=False)
    with pytest.raises(ValueError, match="embed_dim=4 is not divisible by num_heads=3"):
        f.transformer(**{**SIZES, "nhead": 3}, src_length=S, tgt_length=T)
    with pytest.raises(ValueError, match="activation='swiglu' is unknown: choose one of identity, relu"):
        f.transformer_encoder_layer(**SIZES, length=S, activation="swiglu")
