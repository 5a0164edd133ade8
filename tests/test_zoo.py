"""The zoo that the tests measure against is there, and its models say themselves what they take."""

from __future__ import annotations

import pytest

import costmodel

_TEXT = "hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, vocab_size=50"
_WHISPER = (
    "d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, "
    "encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2, "
    "decoder_start_token_id=3"
)
_TOWER = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 48, "num_attention_heads": 2}
_PATCHES = {"image_size": 64, "patch_size": 32}


@pytest.mark.parametrize("name", ["torchvision.models", "timm", "transformers"])
def test_the_zoo_imports(name: str) -> None:
    """Torchvision, timm and transformers import beside this torch, so that no test needs to skip."""
    __import__(name)


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (f"hf:bert({_TEXT})", [(1, 128)]),
        (f"hf:whisper({_WHISPER})", [(1, 80, 3000), (1, 128)]),
        (f"hf:clip(text_config={_TOWER}, vision_config={_TOWER | _PATCHES})", [(1, 77), (1, 3, 64, 64)]),
        (f"hf:wav2vec2({_TEXT}, num_conv_pos_embedding_groups=2)", [(1, 16000)]),
    ],
    ids=["text", "speech to text", "text and images", "speech"],
)
def test_transformers_are_priced_without_being_told_inputs(spec: str, given: list[tuple[int, ...]]) -> None:
    """Every tensor that a forward cannot do without is given; every op has a rule; all layers agree."""
    pytest.importorskip("transformers")
    found = costmodel.profile(spec)
    assert sorted(t.shape for t in found.inputs) == sorted(given)
    assert found.is_exact, found.coverage.unknown
    assert found.crosscheck().ok


def test_a_mixture_of_experts_costs_what_its_router_picks() -> None:
    """Each of t tokens runs k of the experts, each three products of h by i (Jiang et al., Mixtral of Experts, 2.1)."""
    pytest.importorskip("transformers")
    t, h, i, layers, k, experts = 128, 32, 48, 2, 2, 4
    found = costmodel.profile(
        f"hf:mixtral({_TEXT}, num_key_value_heads=2, num_local_experts={experts}, num_experts_per_tok={k})"
    )
    attention = 4 * t * h * h + 2 * t * t * h
    assert found.is_exact, found.coverage.unknown
    assert found.macs == layers * (attention + t * h * experts + k * t * 3 * h * i)
