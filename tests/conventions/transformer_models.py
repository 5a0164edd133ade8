"""Small transformers of each family, built from configurations, each with inputs that are given by position."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

_SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99,
}  # fmt: skip
_DECODER = {**_SIZES, "num_key_value_heads": 2, "max_position_embeddings": 64, "use_cache": False}
_VISION = {**_SIZES, "image_size": 32, "patch_size": 8}


class ByName(nn.Module):
    """Gives a model its inputs by keyword, as it takes them: tools pass them by position."""

    def __init__(self, model: nn.Module, *names: str) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Any:
        return self.model(**dict(zip(self.names, inputs, strict=True)))


def _made(name: str, config: str, **options: Any) -> nn.Module:
    transformers = import_module("transformers")
    model: nn.Module = getattr(transformers, name)(getattr(transformers, config)(**options))
    return model.eval()


def _ids(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.int64)


TRANSFORMERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]] = {
    "bert": (lambda: _made("BertModel", "BertConfig", **_SIZES), lambda: (_ids(2, 7),)),
    "bert, masked": (
        lambda: ByName(_made("BertModel", "BertConfig", **_SIZES), "input_ids", "attention_mask"),
        lambda: (_ids(2, 7), _ids(2, 7)),
    ),
    "distilbert": (
        lambda: _made(
            "DistilBertForSequenceClassification", "DistilBertConfig",
            dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=99,
        ),
        lambda: (_ids(2, 7),),
    ),
    "gpt2": (
        lambda: _made("GPT2LMHeadModel", "GPT2Config", n_embd=32, n_layer=2, n_head=4, vocab_size=99, use_cache=False,
            bos_token_id=1, eos_token_id=2,
        ),
        lambda: (_ids(2, 7),),
    ),
    "llama": (lambda: _made("LlamaForCausalLM", "LlamaConfig", **_DECODER), lambda: (_ids(2, 7),)),
    "mistral": (
        lambda: _made("MistralForCausalLM", "MistralConfig", sliding_window=4, **_DECODER), lambda: (_ids(2, 7),)
    ),
    "t5": (
        lambda: ByName(
            _made(
                "T5ForConditionalGeneration", "T5Config",
                d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=99, use_cache=False,
            ),
            "input_ids", "decoder_input_ids",
        ),
        lambda: (_ids(2, 7), _ids(2, 5)),
    ),
    "vit": (lambda: _made("ViTForImageClassification", "ViTConfig", **_VISION), lambda: (torch.rand(2, 3, 32, 32),)),
    "clip": (
        lambda: ByName(
            _made(
                "CLIPModel", "CLIPConfig", projection_dim=16, vision_config=_VISION,
                text_config={**_SIZES, "eos_token_id": 1, "bos_token_id": 0},
            ),
            "input_ids", "pixel_values",
        ),
        lambda: (_ids(2, 7), torch.rand(2, 3, 32, 32)),
    ),
    "whisper": (
        lambda: ByName(
            _made(
                "WhisperModel", "WhisperConfig", d_model=32, encoder_layers=2, decoder_layers=2, vocab_size=99,
                encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
                num_mel_bins=8, max_source_positions=10, max_target_positions=16, use_cache=False, pad_token_id=0,
                bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
            ),
            "input_features", "decoder_input_ids",
        ),
        lambda: (torch.rand(2, 8, 20), _ids(2, 5)),
    ),
    "wav2vec2": (
        lambda: _made(
            "Wav2Vec2Model", "Wav2Vec2Config", conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3),
            num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, **_SIZES,
        ),
        lambda: (torch.rand(2, 400),),
    ),
}  # fmt: skip
"""By family. None is larger than two layers of 32 channels."""
