"""What one aten op does: its outputs, work, traffic and window. One family of ops a file.

Importing this package fills the registry; ``find`` looks an op up.
"""

from costmodel.ops import (
    activation,
    attention,
    convolution,
    elementwise,
    embedding,
    matmul,
    normalisation,
    pooling,
    recurrent,
    resampling,
)
from costmodel.ops.rule import KINDS, RULES, Rule, Torch, example, find, register

__all__ = [
    "KINDS",
    "RULES",
    "Rule",
    "Torch",
    "activation",
    "attention",
    "convolution",
    "elementwise",
    "embedding",
    "example",
    "find",
    "matmul",
    "normalisation",
    "pooling",
    "recurrent",
    "register",
    "resampling",
]
