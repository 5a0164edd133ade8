"""Inputs of model types whose layout neither the forward's arguments nor the fields of the configuration tell.

A text says a tensor: a dtype where it is not floating, and the dimensions, as numbers or as the configuration's fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmodel.default_inputs.sizes import Sizes
from costmodel.inputs import Input

_PAIR = {"pixel_values": "1 2 3 480 640"}
"""Two images, between which points are matched."""
_SERIES = {"past_values": "1 context_length num_input_channels"}
_SPECTRA = {"input_features": "1 1000 128"}
_WAVE = {"input_values": "1 1 48000"}

IRREGULAR: Mapping[str, Mapping[str, str]] = {
    # text with something beside it
    "blip_2_qformer": {"query_embeds": "1 32 hidden_size", "encoder_hidden_states": "1 257 encoder_hidden_size"},
    "bros": {"bbox": "1 128 8"},
    "dia": {"decoder_input_ids": "int64 1 128 decoder_config.num_channels"},
    "kyutai_speech_to_text": {"input_ids": "int64 1 128 33"},
    "lxmert": {"visual_feats": "1 36 visual_feat_dim", "visual_pos": "1 36 visual_pos_dim"},
    "xmod": {"lang_ids": "int64 1"},
    # images
    "deepseek_vl_hybrid": {"high_res_pixel_values": "1 3 1024 1024"},
    "depth_pro": {"pixel_values": "1 3 1536 1536"},
    "efficientloftr": _PAIR,
    "idefics": {"pixel_values": "1 1 3 vision_config.image_size vision_config.image_size",
                "image_attention_mask": "int64 1 128 1"},
    "instructblipvideo": {"pixel_values": "1 4 3 vision_config.image_size vision_config.image_size"},
    "lightglue": _PAIR,
    "mllama": {"pixel_values": "1 1 vision_config.max_num_tiles 3 vision_config.image_size vision_config.image_size",
               "aspect_ratio_ids": "int64 1 1", "aspect_ratio_mask": "int64 1 1 vision_config.max_num_tiles"},
    "oneformer": {"task_inputs": "int64 1 77"},
    "perceiver": {"inputs": "1 2048 d_model"},
    "rf_detr": {"pixel_values": "1 3 560 560"},
    "seggpt": {"pixel_values": "1 3 448 448", "prompt_pixel_values": "1 3 448 448", "prompt_masks": "1 3 448 448"},
    "superglue": _PAIR,
    "tvp": {"pixel_values": "1 num_frames 3 max_img_size max_img_size"},
    "uvdoc": {"pixel_values": "1 3 712 488"},
    "vilt": {"pixel_values": "1 3 image_size image_size"},
    # sound
    "audioflamingo3_encoder": {"input_features_mask": "int64 1 3000"},
    "clap": {"input_features": "1 1 1001 64", "is_longer": "bool 1 1"},
    "clvp": {"input_features": "1 80 517"},
    "gemma4_audio": {"input_features": "1 1000 128"},
    "glmasr_encoder": {"input_features": "1 128 3000"},
    "granite_speech5_ctc": {"input_features": "1 1000 320"},
    "granite_speech5_encoder": {"input_features": "1 1000 320"},
    "nemotron3_5_transcribe_audio": _SPECTRA,
    "neucodec": {"input_values": "1 1 16000", "input_features": "1 50 160"},
    "omniasr_audio": {"input_values": "1 1 16000"},
    "omniasr_ctc": {"input_values": "1 1 16000"},
    "muse_spark_audio": {"input_values": "1 48000"},
    "pe_audio": _WAVE,
    "pe_audio_encoder": _WAVE,
    "pe_audio_video_encoder": _WAVE,
    "qwen3_asr_encoder": {"input_features": "1 128 1000", "input_features_mask": "int64 1 1000"},
    "speecht5": {"input_values": "1 128 hidden_size", "decoder_input_values": "1 128 hidden_size"},
    "univnet": {"input_features": "1 128 num_mel_bins"},
    "voxtral_realtime_encoder": {"input_features": "1 128 3000"},
    "xcodec2": {"input_values": "1 1 16000", "input_features": "1 50 160"},
    "mimi_decoder": {"latents": "1 hidden_size 25"},
    "pocket_tts_audio_tokenizer_decoder": {"latents": "1 hidden_size 25"},
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": "1 hidden_size 25"},
    "vibevoice_acoustic_tokenizer_encoder": {"hidden_states": "1 1 48000"},
    # series and actions
    "decision_transformer": {"states": "1 20 state_dim", "actions": "1 20 act_dim", "rewards": "1 20 1",
                             "returns_to_go": "1 20 1", "timesteps": "int64 1 20", "attention_mask": "int64 1 20"},
    "patchtsmixer": _SERIES,
    "patchtst": _SERIES,
    "timesfm": {"past_values": "1 context_length", "past_values_padding": "int64 1 context_length",
                "freq": "int64 1 1"},
    "timesfm2_5": {"past_values": "1 context_length"},
}  # fmt: skip


def tensor(sizes: Sizes, dims: str) -> Any:
    """The input that a text says."""
    words = dims.split()
    dtype = words.pop(0) if words and words[0].startswith(("int", "bool")) else None
    shape = tuple(int(word) if word.isdigit() else _size(sizes, word) for word in words)
    return shape if dtype is None else Input(shape, dtype)


def _size(sizes: Sizes, path: str) -> int:
    *parts, name = path.split(".")
    for part in parts:
        sizes = sizes.part(part)
    return sizes.one(name, default=1)
