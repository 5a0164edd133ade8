"""The files of rules for other libraries."""

from __future__ import annotations

import sys

from torch import nn

import costmodel
from costmodel.ops.third_party import FILES


def test_no_library_is_imported() -> None:
    """Their rules are registered, and none of them is there."""
    costmodel.profile(nn.ReLU(), (3,))
    assert not any(name in sys.modules for name in FILES)
