"""Language models that the tests of generation share: configurations as published, and small ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

LLAMA_3_8B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
"""huggingface.co/meta-llama/Meta-Llama-3-8B, config.json."""

PUBLISHED: Mapping[str, tuple[Mapping[str, Any], int, str]] = {
    "Llama-3 8B": (
        LLAMA_3_8B, 8_030_261_248,
        "huggingface.co/meta-llama/Meta-Llama-3-8B, model.safetensors.index.json: 16,060,522,496 bytes in bfloat16",
    ),
    "Llama-3 70B": (
        LLAMA_3_8B | {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
                      "num_attention_heads": 64},
        70_553_706_496,
        "huggingface.co/meta-llama/Meta-Llama-3-70B, model.safetensors.index.json: 141,107,412,992 bytes in bfloat16",
    ),
    "Llama-3.1 405B": (
        LLAMA_3_8B | {"hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
                      "num_attention_heads": 128, "max_position_embeddings": 131072},
        405_853_388_800,
        "huggingface.co/meta-llama/Llama-3.1-405B: 405,853,388,800 parameters",
    ),
    "Mixtral 8x7B": (
        {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 4096,
         "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
         "vocab_size": 32000, "max_position_embeddings": 32768, "num_local_experts": 8, "num_experts_per_tok": 2,
         "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
        46_702_792_704,
        "huggingface.co/mistralai/Mixtral-8x7B-v0.1, model.safetensors.index.json: 93,405,585,408 bytes in bfloat16",
    ),
    "Qwen3-30B-A3B": (
        {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
         "intermediate_size": 6144, "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
         "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960,
         "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [],
         "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
        30_532_122_624,
        "huggingface.co/Qwen/Qwen3-30B-A3B: 30,532,122,624 parameters (30.5B in total, 3.3B activated)",
    ),
    "Gemma 2 9B": (
        {"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_size": 3584,
         "intermediate_size": 14336, "num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads": 8,
         "head_dim": 256, "vocab_size": 256000, "max_position_embeddings": 8192, "sliding_window": 4096,
         "query_pre_attn_scalar": 256, "torch_dtype": "bfloat16"},
        9_241_705_984,
        "huggingface.co/google/gemma-2-9b: 9,241,705,984 parameters",
    ),
    "GPT-2": (
        {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12,
         "n_positions": 1024, "n_ctx": 1024, "vocab_size": 50257},
        124_439_808,
        "huggingface.co/openai-community/gpt2: 124M; OpenAI's gpt-2 at 117M prints 124,439,808",
    ),
    "Mamba 130M": (
        {"architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24,
         "state_size": 16, "vocab_size": 50280, "expand": 2, "conv_kernel": 4, "time_step_rank": 48},
        129_135_360,
        "huggingface.co/state-spaces/mamba-130m-hf: 129,135,360 parameters",
    ),
    "T5 small": (
        {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "d_model": 512, "d_kv": 64, "d_ff": 2048,
         "num_layers": 6, "num_decoder_layers": 6, "num_heads": 8, "vocab_size": 32128, "is_encoder_decoder": True},
        60_506_624,
        "Raffel et al., arXiv:1910.10683, section 3.7: about 60 million; huggingface.co/google-t5/t5-small: 60,506,624",
    ),
    "Whisper tiny": (
        {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "d_model": 384,
         "encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 6, "decoder_attention_heads": 6,
         "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "vocab_size": 51865, "num_mel_bins": 80,
         "max_source_positions": 1500, "max_target_positions": 448},
        37_760_640,
        "huggingface.co/openai/whisper-tiny: 37,760,640 parameters (39M with OpenAI's stored sinusoids)",
    ),
}  # fmt: skip
"""The settings of published config.json files that sizes follow from, with the number of parameters and its source."""


def spec(folder: Path, config: Mapping[str, Any]) -> str:
    """The spec of a model with this configuration, in a file."""
    path = folder / "config.json"
    path.write_text(json.dumps(dict(config)))
    return f"hf:{path}"


_SMALL = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 50, "head_dim": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip

SMALL: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("LlamaForCausalLM", _SMALL),
    "one key head": ("LlamaForCausalLM", _SMALL | {"num_key_value_heads": 1}),
    "sliding window": ("MistralForCausalLM", _SMALL | {"sliding_window": 12}),
    "alternating windows": ("Gemma2ForCausalLM", _SMALL | {"sliding_window": 12}),
    "one global layer in six": ("Gemma3ForCausalLM", _SMALL | {"sliding_window": 12, "num_hidden_layers": 6}),
    "mixture": ("MixtralForCausalLM", _SMALL | {"num_local_experts": 4, "sliding_window": None}),
    "finer mixture": (
        "Qwen3MoeForCausalLM",
        _SMALL | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "learnt positions": (
        "GPT2LMHeadModel",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 64, "bos_token_id": 0,
         "eos_token_id": 1},
    ),
    "state space": (
        "MambaForCausalLM",
        {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 50, "state_size": 8, "bos_token_id": 0,
         "eos_token_id": 1, "pad_token_id": 2},
    ),
    "encoder-decoder": (
        "T5ForConditionalGeneration",
        {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 50},
    ),
    "speech": (
        "WhisperForConditionalGeneration",
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 50,
         "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 64, "bos_token_id": 0,
         "eos_token_id": 1, "pad_token_id": 2, "decoder_start_token_id": 3, "begin_suppress_tokens": None},
    ),
}  # fmt: skip
"""Small models by what is special about them: the class and its settings."""


def small(name: str) -> Any:
    """A small model with weights."""
    transformers = pytest.importorskip("transformers")
    kind, settings = SMALL[name]
    model_class = getattr(transformers, kind)
    torch.manual_seed(0)
    return model_class(model_class.config_class(**settings)).eval()


class Tiny(nn.Module):
    """Attention of one head with a cache of one's own: a pair of tensors."""

    def __init__(self, width: int = 8, words: int = 20) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, input_ids: Any, past_key_values: Any = None, use_cache: bool = True) -> dict[str, Any]:
        """Scores of the last position, and keys and values of all."""
        x = self.embedding(input_ids)
        keys, values = self.key(x), self.value(x)
        if past_key_values is not None:
            keys, values = (torch.cat(pair, 1) for pair in zip(past_key_values, (keys, values), strict=True))
        causal = past_key_values is None
        y = functional.scaled_dot_product_attention(self.query(x), keys, values, is_causal=causal)
        return {"logits": self.head(y[:, -1:]), "past_key_values": (keys, values) if use_cache else None}
