"""Models that torchao has quantised: what a profile says of them, worked by hand."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

import costmodel


@pytest.fixture(name="quantization")
def imported() -> Any:
    """torchao, imported by the first test that needs it; it warns where kernels of its own do not load."""
    logging.disable(logging.WARNING)
    try:
        return pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    finally:
        logging.disable(logging.NOTSET)


ROWS, IN, HIDDEN, OUT = 4, 64, 32, 16
ELEMENTS = IN * HIDDEN + HIDDEN * OUT
BIASES = HIDDEN + OUT
FEATURES = HIDDEN + OUT
"""Rows of both weights."""


def quantised(quantization: Any, config: str, dtype: torch.dtype) -> nn.Module:
    """Two linear layers, quantised."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUT)).to(dtype).eval()
    quantization.quantize_(model, getattr(quantization, config)())
    return model


CASES = {
    # 8 bits an element; a scale of 4 bytes and a zero point of 1 for each row.
    "8-bit weights": ("Int8WeightOnlyConfig", torch.float32, ELEMENTS + 5 * FEATURES),
    "8-bit weights and inputs": (
        "Int8DynamicActivationInt8WeightConfig", torch.float32, ELEMENTS + 5 * FEATURES,
    ),
    # A scale of 4 bytes for each row.
    "8-bit floats": ("Float8WeightOnlyConfig", torch.bfloat16, ELEMENTS + 4 * FEATURES),
    "weights of few bits": ("IntxWeightOnlyConfig", torch.float32, ELEMENTS + 5 * FEATURES),
    # 32 numbers share a scale of 4 bytes and a zero point of 1.
    "8-bit inputs, weights of few bits": (
        "Int8DynamicActivationIntxWeightConfig", torch.float32, ELEMENTS + 5 * (ELEMENTS // 32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("name", CASES)
def test_a_quantised_model(quantization: Any, name: str, execution: Any) -> None:
    """MACs and parameters are the dense model's, bytes are those that are stored, and nothing is unknown."""
    config, dtype, weights = CASES[name]
    model = quantised(quantization, config, dtype)
    p = costmodel.profile(model, costmodel.Input((ROWS, IN), dtype), execution=execution)
    assert (p.is_exact, p.execution) == (True, execution)
    assert p.macs == ROWS * ELEMENTS
    assert p.params == ELEMENTS + BIASES
    assert p.params_bytes == weights + BIASES * dtype.itemsize
    assert p.active_params == p.params
    assert p.crosscheck().ok
    assert p.crosscheck().checked == 3


def test_products_are_of_integers(quantization: Any) -> None:
    """Where inputs are quantised, too."""
    model = quantised(quantization, "Int8DynamicActivationInt8WeightConfig", torch.float32)
    p = costmodel.profile(model, (ROWS, IN))
    assert p.ops["op"].tolist().count("aten._int_mm.default") == 2


def test_training_with_rounded_weights(quantization: Any) -> None:
    """Quantisation-aware training of torchao: as many MACs, and no operation that is unknown."""
    from torchao.quantization.qat import QATConfig

    groups = quantization.PerGroup(32)
    base = quantization.Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=groups)
    model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUT))
    quantization.quantize_(model, QATConfig(base, step="prepare"))
    for mode in ("eval", "train"):
        p = costmodel.profile(model, (ROWS, IN), mode=mode)  # type: ignore[arg-type]
        assert (p.macs, p.params, p.is_exact) == (ROWS * ELEMENTS, ELEMENTS + BIASES, True)
