"""Inputs of transformers' models, by the sizes in their configuration."""

from __future__ import annotations

import inspect
from typing import Any

from costmodel.inputs import Input


def inputs(model: Any) -> dict[str, Any]:
    """Inputs for a transformers model: each tensor that its forward cannot do without, by the sizes in its config."""
    config: Any = model.config
    main = getattr(model, "main_input_name", "input_ids")
    wanted = [main]
    if hasattr(config, "vision_config") and hasattr(config, "text_config"):
        wanted += ["pixel_values", "input_ids"]
    if getattr(config, "is_encoder_decoder", False):
        wanted.append("decoder_input_ids")
    taken = inspect.signature(model.forward).parameters
    return {name: _of_modality(name, config) for name in wanted if name in taken}


def _of_modality(name: str, config: Any) -> Any:
    if name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", 224)
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        return (1, getattr(vision, "num_channels", 3), height, width)
    if name == "input_values":
        return (1, _SECOND)
    if name == "input_features":  # a spectrogram; Whisper's encoder halves its length
        positions = getattr(config, "max_source_positions", 1500)
        return (1, getattr(config, "num_mel_bins", 80), 2 * positions)
    text = getattr(config, "text_config", config)
    return Input((1, min(getattr(text, "max_position_embeddings", None) or _TOKENS, _TOKENS)), "int64")


_TOKENS = 128
"""Tokens of a text, where the model takes so many."""
_SECOND = 16000
"""Samples of a second of speech, as speech models take it."""
