"""Published models by hand: parameters, multiply-accumulates by layer, bytes of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import costmodel
from tests.decoding.networks import PUBLISHED, spec

pytest.importorskip("transformers")

Config = Mapping[str, Any]


def made(folder: Path, name: str, **options: Any) -> costmodel.Generation:
    """A published model's generation, from its configuration."""
    return costmodel.generation(spec(folder, PUBLISHED[name][0]), **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_that_are_published(name: str, tmp_path: Path) -> None:
    """To the last one, in the dtype that the configuration states."""
    g = made(tmp_path, name, prompt=4)
    assert g.params == PUBLISHED[name][1], PUBLISHED[name][2]
    assert g.params_bytes == g.params * (2 if "torch_dtype" in PUBLISHED[name][0] else 4)


@pytest.mark.parametrize(("name", "billions"), [("Mixtral 8x7B", 12.9), ("Qwen3-30B-A3B", 3.35)])
def test_a_token_uses_as_many_parameters_as_is_published(name: str, billions: float, tmp_path: Path) -> None:
    """Mixtral: 12.9B of 46.7B (Jiang et al., arXiv:2401.04092); Qwen3: 3.3B of 30.5B, 3.35B with all embeddings."""
    assert made(tmp_path, name, prompt=16).active_params / 1e9 == pytest.approx(billions, abs=0.05)


def decoder(c: Config, batch: int, tokens: int, context: int) -> int:
    """MACs of a call of a decoder with rotary positions, with so many tokens after so many; each layer attends.

    Projections 2 d h + 2 d kv for each token, attention 2 S T h of S queries and T keys, and three matrices of an MLP,
    or of each expert that a token goes to and of the router. Of scores, those of the last position.
    """
    d, heads, kv = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    size = c.get("head_dim", d // heads)
    experts = c.get("num_local_experts") or c.get("num_experts")
    mlp = 3 * d * c["intermediate_size"]
    if experts:
        expert = 3 * d * c.get("moe_intermediate_size", c["intermediate_size"])
        mlp = d * experts + c["num_experts_per_tok"] * expert
    each = 2 * d * heads * size + 2 * d * kv * size + mlp
    total = 0
    for layer in range(c["num_hidden_layers"]):
        keys = context + tokens
        if c["model_type"] == "gemma2" and layer % 2 == 0 and context:
            keys = min(keys, c["sliding_window"])
        total += tokens * each + 2 * tokens * keys * heads * size
    return batch * (total + d * c["vocab_size"])


DECODERS = [name for name, (c, *_) in PUBLISHED.items() if "num_key_value_heads" in c]


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_by_hand(name: str, tmp_path: Path) -> None:
    """A prompt, a token after it, and all new tokens together, which are not the last one times their number.

    The cache has two tensors for each layer, of two bytes for each token, key head and channel.
    """
    c = PUBLISHED[name][0]
    g = made(tmp_path, name, prompt=100, new=5, batch=2)
    assert g.prefill.macs == decoder(c, 2, 100, 0)
    assert g.decode(100).macs == decoder(c, 2, 1, 100)
    assert g.macs == decoder(c, 2, 100, 0) + sum(decoder(c, 2, 1, context) for context in range(100, 104))
    assert g.is_exact
    size = c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
    assert g.kv_cache_bytes == 2 * 104 * 2 * c["num_hidden_layers"] * c["num_key_value_heads"] * size * 2
    count, used = (c.get("num_local_experts") or c.get("num_experts", 0)), c.get("num_experts_per_tok", 0)
    expert = 3 * c["hidden_size"] * c.get("moe_intermediate_size", c["intermediate_size"])
    assert g.active_params == g.params - c["num_hidden_layers"] * (count - used) * expert


def test_a_sliding_window_bends_the_line(tmp_path: Path) -> None:
    """Gemma 2's windows of 4096 fill while it generates: every other layer's attention stops growing at that token."""
    c = PUBLISHED["Gemma 2 9B"][0]
    g = made(tmp_path, "Gemma 2 9B", prompt=4092, new=7)
    assert g.macs == decoder(c, 1, 4092, 0) + sum(decoder(c, 1, 1, context) for context in range(4092, 4098))
    pairs = 4092 * 4093 // 2
    attention = 2 * 42 * c["num_attention_heads"] * c["head_dim"]
    assert g.executed_macs == g.macs - attention * (4092**2 - pairs)
    full, cut = 4098, 4096 - 1  # at the end; a window of 4096 is the new token and the 4095 before it
    assert g.kv_cache_bytes == 2 * 2 * c["num_key_value_heads"] * c["head_dim"] * 21 * (full + cut)


def test_gpt_2_by_hand(tmp_path: Path) -> None:
    """12 d² for each token and layer, 2 S T d for attention, d V for the scores of the last position."""
    d, layers, words = 768, 12, 50257

    def call(tokens: int, context: int) -> int:
        attention = 2 * tokens * (context + tokens) * d
        return layers * (12 * d * d * tokens + attention) + d * words

    g = made(tmp_path, "GPT-2", prompt=1000, new=25)
    assert g.prefill.macs == call(1000, 0)
    assert g.macs == call(1000, 0) + sum(call(1, context) for context in range(1000, 1024))
    assert g.executed_macs == g.macs - layers * 2 * d * (1000**2 - 1000 * 1001 // 2)


def test_mamba_has_a_state_of_one_size(tmp_path: Path) -> None:
    """Every token costs the same after however many; the state is 16 numbers and 4 inputs for each of 1536 channels."""
    d, inner, state, kernel, rank, layers, words = 768, 1536, 16, 4, 48, 24, 50280

    def call(tokens: int, convolved: int) -> int:
        projections = d * 2 * inner + inner * (rank + 2 * state) + rank * inner + inner * d
        return layers * (tokens * (projections + inner * state) + convolved * inner * kernel) + d * words

    g = made(tmp_path, "Mamba 130M", prompt=20, new=31)
    token = call(1, 2)  # the reference implementation convolves the kept inputs, too
    assert g.prefill.macs == call(20, 20 + kernel - 1)
    assert g.decode(20).macs == g.decode(20_000).macs == token
    assert g.macs == g.prefill.macs + 30 * token
    assert g.kv_cache_bytes == made(tmp_path, "Mamba 130M", prompt=8).kv_cache_bytes
    assert g.kv_cache_bytes == layers * inner * (state + kernel) * 4


def test_t5_reads_the_prompt_once(tmp_path: Path) -> None:
    """The encoder reads it, and keys and values of it are kept: a token's own attention grows, across it does not."""
    d, inner, hidden, layers, words, prompt = 512, 512, 2048, 6, 32128, 50
    encoder = layers * (prompt * (4 * d * inner + 2 * d * hidden) + 2 * prompt**2 * inner)
    once = layers * prompt * 2 * d * inner

    def token(context: int) -> int:
        own, across = 4 * d * inner + 2 * (context + 1) * inner, 2 * d * inner + 2 * prompt * inner
        return layers * (own + across + 2 * d * hidden) + d * words

    g = made(tmp_path, "T5 small", prompt=prompt, new=10)
    assert g.prefill.macs == encoder + once + token(0)
    assert g.macs == encoder + once + sum(token(context) for context in range(10))
    assert g.kv_cache_bytes == 2 * layers * inner * (prompt + 10) * 4
    assert g.executed_macs == g.macs


def test_whisper_begins_with_its_prompt(tmp_path: Path) -> None:
    """30 seconds are 3000 frames, 1500 after the second convolution; the decoder is given the prompt's tokens."""
    d, hidden, layers, words, frames, prompt = 384, 1536, 4, 51865, 1500, 4
    encoder = 2 * frames * d * 80 * 3 + frames * d * d * 3
    encoder += layers * (frames * (4 * d * d + 2 * d * hidden) + 2 * frames**2 * d)
    once = layers * frames * 2 * d * d

    def call(tokens: int, context: int) -> int:
        own, across = 4 * d * d + 2 * (context + tokens) * d, 2 * d * d + 2 * frames * d
        return tokens * (layers * (own + across + 2 * d * hidden) + d * words)

    g = made(tmp_path, "Whisper tiny", prompt=prompt, new=8, batch=2)
    assert g.prefill.macs == 2 * (encoder + once + call(prompt, 0))
    assert g.macs == 2 * (encoder + once + call(prompt, 0) + sum(call(1, context) for context in range(4, 11)))
    assert g.kv_cache_bytes == 2 * 2 * layers * d * (frames + 11) * 4


def test_packed_weights_take_their_bits_and_scales(tmp_path: Path) -> None:
    """Llama-3 8B: linear layers but the head in a byte and two for each row, or half a byte and two for each 128."""
    d, hidden, kv, layers, words = 4096, 14336, 1024, 32, 128256
    rows = layers * (d + 2 * kv + d + 2 * hidden + d)
    linear = layers * (2 * d * d + 2 * d * kv + 3 * d * hidden)
    rest = (2 * words * d + (2 * layers + 1) * d) * 2
    int8 = made(tmp_path, "Llama-3 8B", prompt=8, weights="int8")
    int4 = made(tmp_path, "Llama-3 8B", prompt=8, weights="int4")
    assert int8.params_bytes == linear + 2 * rows + rest
    assert int4.params_bytes == linear // 2 + 2 * linear // 128 + rest
    plain = made(tmp_path, "Llama-3 8B", prompt=8)
    assert plain.peak_memory - int4.peak_memory == plain.params_bytes - int4.params_bytes
    assert (plain.macs, plain.kv_cache_bytes) == (int4.macs, int4.kv_cache_bytes)
    # What is traced has the weights as they were; the least times read them packed. The text says both.
    assert plain.prefill.memory_access_bytes == int4.prefill.memory_access_bytes
    less = plain.roofline("h100").per_token - int4.roofline("h100").per_token
    assert less == pytest.approx((plain.params_bytes - int4.params_bytes) / 3.35e12)
    said = (
        "packed weights are in memory, in what fits and in the least times; the table has those of weights in bfloat16"
    )
    assert said in " ".join(str(int4).split())
    assert "packed weights" not in str(plain)


def test_a_dtype_of_all(tmp_path: Path) -> None:
    """GPT-2's float32 as if it were float16: half the weights, half the cache, the same work."""
    whole, half = (made(tmp_path, "GPT-2", prompt=10, new=3, dtype=dtype) for dtype in (None, "float16"))
    assert (half.params_bytes, half.kv_cache_bytes) == (whole.params_bytes // 2, whole.kv_cache_bytes // 2)
    assert (half.macs, half.flops, half.dtype) == (whole.macs, whole.flops, "float16")
