"""Steps on tokens, (batch, tokens, features): source that rebinds ``x``."""

from __future__ import annotations

from tests.random_networks.draft import Draft, Maker


def linear(d: Draft) -> str | None:
    """A linear layer, alone or in a perceptron, or its weight used by a function."""
    if d.x.dim() < 1:
        return None
    c, out = d.x.shape[-1], d.rng.choice([1, 4, 8, 12])
    if d.rng.random() < 0.3:
        act = d.one_of("nn.GELU()", "nn.GELU('tanh')", "nn.ReLU(inplace=True)", "nn.Tanh()", "nn.GLU()")
        inner = 8 if act == "nn.GLU()" else 16
        m = d.module(f"nn.Sequential(nn.Linear({c}, 16), {act}, nn.Dropout(0.1), nn.Linear({inner}, {out}))")
        return f"x = {m}(x)"
    m = d.module(f"nn.Linear({c}, {out}, bias={d.rng.random() < 0.6})")
    return d.one_of(
        f"x = {m}(x)", f"x = {m}(x)", f"x = x.contiguous() @ {m}.weight.t()", f"x = F.linear(x, {m}.weight * 0.5)"
    )


def norm(d: Draft) -> str | None:
    """A normalisation of each token."""
    if d.x.dim() < 2 or not d.x.shape[-1]:
        return None
    c = d.x.shape[-1]
    m = d.module(d.one_of(f"nn.LayerNorm({c})", f"nn.LayerNorm({c}, bias=False)", f"nn.RMSNorm({c})"))
    return f"x = {m}(x)"


def attention_layer(d: Draft) -> str | None:
    """A multi-head attention or a transformer's layer."""
    if d.x.dim() != 3 or d.x.shape[-1] % 2:
        return None
    c, first = d.x.shape[-1], d.rng.random() < 0.7
    heads = d.rng.choice([1, 2, c // 2])
    if d.rng.random() < 0.5:
        m = d.module(f"nn.MultiheadAttention({c}, {heads}, batch_first={first}, bias={d.rng.random() < 0.7})")
        mask = d.one_of(
            "", f", attn_mask=nn.Transformer.generate_square_subsequent_mask({d.x.shape[1 if first else 0]})"
        )
        return f"x = {m}(x, x, x, need_weights={d.rng.random() < 0.4}{mask})[0]"
    act = d.one_of("'relu'", "'gelu'")
    options = f"{c}, {heads}, 8, batch_first={first}, norm_first={d.rng.random() < 0.5}, activation={act}"
    if d.rng.random() < 0.3:
        return f"x = {d.module(f'nn.TransformerDecoderLayer({options})')}(x, x[:, :1] if {first} else x[:1])"
    return f"x = {d.module(f'nn.TransformerEncoderLayer({options})')}(x)"


def attention(d: Draft) -> str | None:
    """Scaled dot-product attention as a function, of heads split off the features."""
    if d.x.dim() != 3 or d.x.shape[-1] % 4:
        return None
    m = d.module(f"nn.Linear({d.x.shape[-1]}, {3 * d.x.shape[-1]})")
    heads = d.one_of(
        f"q, k, v = {m}(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind()",
        f"q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in {m}(x).chunk(3, -1))",
    )
    score = d.one_of(
        "F.scaled_dot_product_attention(q, k, v)", "F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        "F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)",
        "F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(x.shape[1], x.shape[1]).tril().bool())",
        "(q @ k.transpose(-1, -2) / 2).softmax(-1) @ v", "torch.einsum('bhqk,bhkd->bhqd', (q @ k.mT).softmax(-1), v)",
        "torch.matmul(F.softmax(q @ k.mT, dim=-1, dtype=torch.float32).to(q.dtype), v)",
    )  # fmt: skip
    return f"{heads}\nx = {score}.transpose(1, 2).flatten(2)"


def recurrent(d: Draft) -> str | None:
    """An LSTM, a GRU or an Elman network, or a few steps of a cell."""
    if d.x.dim() != 3:
        return None
    c, hidden = d.x.shape[-1], d.rng.choice([2, 4, 6])
    if d.rng.random() < 0.15:
        m = d.module(f"nn.{d.one_of('GRUCell', 'RNNCell')}({c}, {hidden})")
        return f"h = None\nfor t in range(x.shape[1]):\n    h = {m}(x[:, t], h)\nx = x if h is None else h.unsqueeze(1)"
    kind = d.one_of("LSTM", "LSTM", "GRU", "RNN")
    options = (
        f"{c}, {hidden}, num_layers={d.rng.choice([1, 1, 2])}, batch_first={d.rng.random() < 0.6}, "
        f"bidirectional={d.rng.random() < 0.4}, bias={d.rng.random() < 0.8}"
    )
    if kind == "LSTM" and d.rng.random() < 0.2:
        options += ", proj_size=1"
    m = d.module(f"nn.{kind}({options})")
    if kind != "LSTM" and d.rng.random() < 0.3:
        return f"y, h = {m}(x)\nx = h.transpose(0, 1)"
    return f"x = {m}(x)[0]"


def embed(d: Draft) -> str:
    """Words looked up: indices from the values' signs, positions from their number."""
    c = d.x.shape[-1] if d.x.dim() else 4
    return d.one_of(
        f"x = {d.module(f'nn.Embedding(5, {c})')}((x[..., 0] > 0).long())",
        f"x = x + {d.module(f'nn.Embedding(64, {c})')}(torch.arange(x.shape[-2]))",
        f"x = {d.module(f'nn.EmbeddingBag(5, {c})')}((x[..., 0] > 0).long())",
    )


def position(d: Draft) -> str:
    """Positions as waves, rotated features, a class token."""
    waves = (
        "t = torch.arange(x.shape[-2], dtype=torch.float32)[:, None] * torch.linspace(1, 0.1, x.shape[-1])\n"
        "x = x + t.sin().to(x.dtype)"
    )
    rotary = "p, q = x.chunk(2, -1)\nx = x * 0.8 + torch.cat((-q, p), -1) * 0.6"
    token = "x = torch.cat([x.new_zeros(x.shape[0], 1, x.shape[-1]), x], 1)"
    return d.one_of(waves, rotary, token, "x = x[:, 1:]", "x = x[:, -1:]", "x = x.mean(1, keepdim=True)")


def convolution(d: Draft) -> str | None:
    """A convolution along the tokens."""
    if d.x.dim() != 3:
        return None
    c = d.x.shape[-1]
    m = d.module(f"nn.Conv1d({c}, {c}, 3, padding=1, groups={d.rng.choice([1, c])})")
    return f"x = {m}(x.transpose(1, 2)).transpose(1, 2)"


def bilinear(d: Draft) -> str | None:
    """A bilinear layer, and products of tokens with each other."""
    c = d.x.shape[-1] if d.x.dim() > 1 else 0
    if not c:
        return None
    gram = d.one_of(
        "x = x @ x.mT", "x = torch.einsum('...ic,...jc->...ij', x, x)", "x = torch.cdist(x, x)", "x = x.mT @ x"
    )
    if d.rng.random() < 0.6:
        return gram
    return f"x = {d.module(f'nn.Bilinear({c}, {c}, 4)')}(x, x.flip(-2))"


TOKENS: list[Maker] = [
    linear, linear, linear, norm, norm, attention_layer, attention_layer, attention, recurrent, recurrent, embed,
    position, convolution, bilinear,
]  # fmt: skip
