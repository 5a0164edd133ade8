"""What a configuration says about sizes, under the many names that its fields have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PARTS = (
    "vision_config", "audio_config", "encoder_config", "text_config", "backbone_config", "speech_config",
    "audio_encoder_config", "vision_encoder_config", "thinker_config", "encoder",
)  # fmt: skip
"""Fields of a configuration that are configurations themselves."""


@dataclass(frozen=True)
class Sizes:
    """A configuration, and the names of the arguments that the model's forward takes."""

    config: Any
    taken: frozenset[str]

    def part(self, *names: str) -> Sizes:
        """The first of these that is part of the configuration; itself, if it has none."""
        found = next((value for name in names if (value := getattr(self.config, name, None)) is not None), self.config)
        return Sizes(found, self.taken)

    def has(self, *names: str) -> bool:
        """Whether the configuration has any of these fields."""
        return any(getattr(self.config, name, None) is not None for name in names)

    def one(self, *names: str, default: int) -> int:
        """The first of these fields that is a positive number, here or in a part of the configuration."""
        for config in (self.config, *self._parts()):
            for name in names:
                value = _field(config, name)
                if isinstance(value, (tuple, list)) and value and isinstance(value[0], int):
                    value = value[0]
                if isinstance(value, int) and value > 0:
                    return value
        return default

    def pair(self, *names: str, default: int) -> tuple[int, int]:
        """Height and width, of which a configuration may give one number, two, or two by name."""
        for config in (self.config, *self._parts()):
            for name in names:
                value = _field(config, name)
                if isinstance(value, Mapping) and "height" in value:
                    return int(value["height"]), int(value["width"])
                if isinstance(value, (tuple, list)) and len(value) >= 2 and isinstance(value[0], int):
                    return int(value[-2]), int(value[-1])
                if isinstance(value, (tuple, list)) and len(value) == 1:
                    return int(value[0]), int(value[0])
                if isinstance(value, int) and value > 0:
                    return value, value
        return default, default

    def _parts(self) -> list[Any]:
        parts = [value for name in _PARTS if (value := getattr(self.config, name, None)) is not None]
        return parts + [value for part in parts for name in _PARTS if (value := getattr(part, name, None)) is not None]


def _field(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
