"""Rules of libraries with kernels of their own. None of them is imported here: their functions are found by name.

A file's rules are registered once its library has been imported by somebody else, or once a saved profile has its ops.
"""

from __future__ import annotations

import sys
from importlib import import_module

FILES = {
    "mamba_ssm": "mamba", "causal_conv1d": "causal_conv1d", "causal_conv1d_cuda": "causal_conv1d",
    "DaoAILab": "causal_conv1d", "flash_attn": "flash_attn", "mmcv": "mmcv", "spconv": "spconv",
    "torchsparse": "torchsparse",
}  # fmt: skip
"""By the name of a library, or the namespace of its ops, the file that has its rules."""

_loaded: set[str] = set()


def load_imported() -> None:
    """Registers the rules of all libraries that have been imported."""
    for library in FILES:
        if library in sys.modules:
            load(library)


def load(library: str) -> bool:
    """Registers the rules of a library; whether that is new."""
    name = FILES.get(library)
    if name is None or name in _loaded:
        return False
    _loaded.add(name)
    import_module(f"{__name__}.{name}")
    return True
