"""Text, images and sound as transformers' models take them, each in layouts that a forward's arguments tell apart."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import torch

from costmodel.default_inputs.sizes import Sizes
from costmodel.inputs import Input

TOKENS = 128
"""Tokens of a text, where the model takes so many."""
SECOND = 16000
"""Samples of a second of speech, as speech models take it."""
FRAMES = 1000
"""Frames of a spectrogram, of 10 ms each, where the model takes any number."""

Found = dict[str, Any]


# -- text ------------------------------------------------------------------------------------------------------------


def text(sizes: Sizes, wanted: Set[str], marks: int) -> Found:
    """Token indices; ``marks`` of them are the one that stands for a part of an image or a sound."""
    of_text = sizes.part("text_config")
    length = min(of_text.one("max_position_embeddings", "n_positions", default=TOKENS), TOKENS)
    names = {name for name in wanted if name.endswith("input_ids")}
    found: Found = {name: Input((1, length), "int64") for name in names}
    token = mark(sizes)
    if marks and token is not None and "input_ids" in sizes.taken:
        ids = torch.zeros(1, length + marks, dtype=torch.int64)
        ids[0, :marks] = token
        found["input_ids"] = ids
        if "mm_token_type_ids" in sizes.taken:
            found["mm_token_type_ids"] = (ids == token).long()
    return found


def mark(sizes: Sizes) -> int | None:
    """The token that stands for a part of an image or a sound."""
    for name in ("image_token_id", "image_token_index", "audio_token_id", "audio_token_index"):
        value = getattr(sizes.config, name, None)
        if isinstance(value, int):
            return value
    return None


# -- images ----------------------------------------------------------------------------------------------------------


def image(sizes: Sizes, wanted: Set[str]) -> Found:
    """One image, or one video, and what the forward wants to know about it."""
    grid = next((name for name in ("image_grid_thw", "grid_thw") if name in sizes.taken), None)
    name = next((n for n in ("pixel_values", "pixel_values_videos", "hidden_states") if n in wanted), None)
    if name is None or (name == "hidden_states" and grid is None):
        return {}
    vision = sizes.part("vision_config", "thinker_config").part("vision_config")
    if grid is not None:
        return _patches_of_any_image(vision, name, grid)
    if "spatial_shapes" in sizes.taken:
        return _patches_in_rows(vision)
    height, width = vision.pair("image_size", "crop_size", "input_size", default=224)
    shape = (vision.one("num_channels", "in_channels", "in_chans", default=3), height, width)
    frames = vision.one("num_frames", "frames_per_clip", default=16 if name == "pixel_values_videos" else 0)
    if frames:
        return {name: (1, frames, *shape)}
    if "image_sizes" in sizes.taken:
        return _tiles(sizes, shape)
    if "pixel_attention_mask" in sizes.taken:  # several images beside each text
        return {name: (1, 1, *shape)}
    return {name: (1, *shape)}


_UNFLATTENED = frozenset({"kimi_k25_vision", "paddleocr_vl_vision"})
"""Types of which a patch has channels, height and width."""


def _patches_of_any_image(vision: Sizes, name: str, grid: str) -> Found:
    """Flattened patches, and for each image how many lie in time, height and width: Qwen2-VL and its kin."""
    patch = vision.one("patch_size", "spatial_patch_size", default=14)
    merge = vision.one("spatial_merge_size", "merge_size", default=2)
    side = max(224 // patch // merge, 1) * merge
    elements = vision.one("num_channels", "in_channels", "in_chans", default=3) * patch**2
    elements *= vision.one("temporal_patch_size", default=1)
    found: Found = {name: (side * side, elements), grid: torch.tensor([[1, side, side]])}
    if vision.config.model_type in _UNFLATTENED:
        found[name] = (side * side, vision.one("num_channels", "in_channels", default=3), patch, patch)
    for merges in {"merge_sizes", "image_merge_sizes"} & vision.taken:
        found[merges] = torch.tensor([merge])
    return found


def _patches_in_rows(vision: Sizes) -> Found:
    """Flattened patches of an image of any shape, padded to a common number: SigLIP 2."""
    patch, side = vision.one("patch_size", default=16), 16
    elements = vision.one("num_channels", default=3) * patch**2
    return {
        "pixel_values": (1, side * side, elements),
        "spatial_shapes": torch.tensor([[side, side]]),
        "pixel_attention_mask": torch.ones(1, side * side, dtype=torch.int64),
    }


def _tiles(sizes: Sizes, shape: tuple[int, ...]) -> Found:
    """An image with its size; where the configuration lists sizes, cut into tiles with the whole before them."""
    _, height, width = shape
    listed = getattr(sizes.config, "image_grid_pinpoints", None)
    if not listed:
        asked = getattr(getattr(sizes.config, "vision_config", None), "model_type", "") == "pixtral"
        return {"pixel_values": (1, *shape)} | ({"image_sizes": torch.tensor([[height, width]])} if asked else {})
    rows, columns = min(listed, key=lambda size: size[0] * size[1])
    tiles = (rows // height) * (columns // width) + 1
    return {"pixel_values": (1, tiles, *shape), "image_sizes": torch.tensor([[rows, columns]])}


# -- sound -----------------------------------------------------------------------------------------------------------


def audio(sizes: Sizes, wanted: Set[str]) -> Found:
    """A second of sound as samples, or a spectrogram."""
    found: Found = {}
    sound = sizes.part("audio_config", "encoder_config")
    if "input_values" in wanted:
        found["input_values"] = _samples(sizes)
    if "input_features" in wanted:
        found["input_features"] = _spectrogram(sound)
    for mask in {"input_features_mask", "attention_mask"} & wanted:
        if "input_features" in found:
            found[mask] = torch.ones(1, found["input_features"][-1 if _is_by_channel(sound) else 1], dtype=torch.int64)
    return found


def _samples(sizes: Sizes) -> tuple[int, ...]:
    if sizes.has("num_mel_bins") and sizes.has("max_length"):  # a spectrogram that is called values
        return (1, sizes.one("max_length", default=1024), sizes.one("num_mel_bins", default=128))
    samples = SECOND // sizes.one("hop_length", default=1) * sizes.one("hop_length", default=1)
    if sizes.has("audio_channels", "codebook_size", "codebook_dim", "hop_length"):  # codecs take channels
        return (1, sizes.one("audio_channels", default=1), samples)
    return (1, samples)


def _spectrogram(sound: Sizes) -> tuple[int, ...]:
    """Whisper's lies on its side: its encoder halves the length."""
    bins = sound.one(
        "num_mel_bins", "feature_projection_input_dim", "input_feat_per_channel", "input_feat_size", "n_mels",
        default=80,
    )  # fmt: skip
    if _is_by_channel(sound):
        return (1, bins, 2 * sound.one("max_source_positions", default=1500))
    return (1, FRAMES, bins)


def _is_by_channel(sound: Sizes) -> bool:
    others = ("conv_kernel_sizes", "subsampling_factor", "feature_projection_input_dim")
    return sound.has("max_source_positions") and not sound.has(*others)
