"""The zoo that the tests measure against is there, whatever torch it was built for."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["torchvision.models", "timm", "transformers"])
def test_the_zoo_imports(name: str) -> None:
    """Torchvision, timm and transformers import beside this torch, so that no test needs to skip."""
    __import__(name)
