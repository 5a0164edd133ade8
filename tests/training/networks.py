"""Networks that people train, made small, each with a batch: what real steps are compared on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import costmodel


@dataclass(frozen=True)
class Network:
    """A model and what it is called with."""

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def images(size: int) -> torch.Tensor:
    """A batch of two."""
    return torch.rand(2, 3, size, size)


def _own(name: str, size: int) -> Network:
    return Network(costmodel.models.build(name), (images(size),))


def _torchvision(name: str, size: int, **kwargs: Any) -> Network:
    get_model = pytest.importorskip("torchvision.models", reason="torchvision is not installed").get_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GoogLeNet's, of its initial weights
        return Network(get_model(name, weights=None, **kwargs), (images(size),))


def _timm(name: str, size: int, **kwargs: Any) -> Network:
    timm = pytest.importorskip("timm", reason="timm is not installed")

    return Network(timm.create_model(name, **kwargs), (images(size),))


_TEXT = {
    "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_GROUPED = {**_TEXT, "num_key_value_heads": 2}
_GPT2 = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2}
_BART = {
    "vocab_size": 100, "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip
_T5 = {
    "vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0,
}  # fmt: skip


def _transformers(model: str, config: Mapping[str, Any], *, labels: str = "tokens") -> Network:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    kind = getattr(transformers, model)
    tokens = torch.randint(3, 100, (2, 24))
    return Network(
        kind(kind.config_class(**config)), (),
        {"input_ids": tokens, "labels": tokens if labels == "tokens" else torch.tensor([0, 1])},
    )  # fmt: skip


_classifier = partial(_transformers, labels="classes")

NETWORKS: dict[str, Callable[[], Network]] = {
    **{name: partial(_own, name, size) for name, size in {
        "resnet18": 64, "se_resnet50": 32, "mobilenet_v1_cifar": 32, "mobilenet_v3_small": 64,
        "ghostnet": 64, "efficientnet_b0": 64, "googlenet": 64,
    }.items()},
    **{f"torchvision {name}": partial(_torchvision, name, size) for name, size in {
        "resnet50": 32, "mobilenet_v2": 64, "densenet121": 32, "squeezenet1_1": 64, "shufflenet_v2_x0_5": 64,
        "mnasnet0_5": 64, "regnet_y_400mf": 32, "convnext_tiny": 32, "swin_t": 32,
    }.items()},
    "torchvision vit": partial(_torchvision, "vit_b_32", 64, image_size=64),
    **{f"timm {name}": partial(_timm, name, size) for name, size in {
        "ecaresnet26t": 64, "mixnet_s": 64, "convnextv2_atto": 64, "edgenext_xx_small": 64, "mobilevit_xxs": 64,
        "fastvit_t8": 64, "mobilenetv4_conv_small": 64,
    }.items()},
    **{f"timm {name}": partial(_timm, name, 64, img_size=64) for name in (
        "vit_tiny_patch16_224", "xcit_nano_12_p16_224", "mixer_s32_224", "deit_tiny_patch16_224",
    )},
    "transformers BERT": partial(_classifier, "BertForSequenceClassification", _TEXT),
    "transformers ELECTRA": partial(_classifier, "ElectraForSequenceClassification", _TEXT | {"embedding_size": 16}),
    "transformers ALBERT": partial(_classifier, "AlbertForSequenceClassification", _TEXT | {"embedding_size": 16}),
    "transformers DeBERTa": partial(_classifier, "DebertaV2ForSequenceClassification", _TEXT | {
        "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"],
    }),
    "transformers GPT-2": partial(_transformers, "GPT2LMHeadModel", _GPT2),
    "transformers Llama": partial(_transformers, "LlamaForCausalLM", _GROUPED),
    "transformers Qwen2": partial(_transformers, "Qwen2ForCausalLM", _GROUPED),
    "transformers GPT-NeoX": partial(_transformers, "GPTNeoXForCausalLM", _TEXT),
    "transformers BART": partial(_transformers, "BartForConditionalGeneration", _BART),
    "transformers T5": partial(_transformers, "T5ForConditionalGeneration", _T5),
}  # fmt: skip
