from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import costmodel
from costmodel.views import text


def pruned() -> nn.Module:
    """A convolution of which 54 of 108 weights and 1 of 4 biases are masked, and a linear layer that is whole."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.random_unstructured(model[0], "bias", 1)
    return model


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_parameters_that_are_not_zero_are_said_beside_the_dense_ones(execution: Any) -> None:
    """Counts are those of the dense model, which is what runs; masks say how many parameters are left."""
    p = costmodel.profile(pruned(), (1, 3, 4, 4), execution=execution)
    assert (p.params, p.nonzero_params) == (4 * 27 + 4 + 34, 54 + 3 + 34)
    assert p.macs == 4 * 4 * 27 + 32
    assert p.layers.groupby("name")["nonzero_params"].sum()[["0", "2"]].tolist() == [57, 34]
    assert p.total("nonzero_params") == 91
    assert "91 not pruned" in text.profile(p)
    assert "not pruned" in p.to_html()


def test_the_masks_are_in_what_is_saved(tmp_path: Path) -> None:
    """JSON and pickles keep the figure."""
    p = costmodel.profile(pruned(), (1, 3, 4, 4))
    p.save(tmp_path / "p.json")
    assert costmodel.read_json(tmp_path / "p.json").nonzero_params == 91
    assert pickle.loads(pickle.dumps(p)).nonzero_params == 91


def test_a_model_that_is_not_pruned_has_no_remark() -> None:
    """Nor has one whose masks have no values, or whose zeros are its own."""
    whole = nn.Linear(4, 4)
    nn.init.zeros_(whole.weight)
    for model in (whole, pruned().to("meta")):
        p = costmodel.profile(model, (1, 4) if model is whole else (1, 3, 4, 4))
        assert p.nonzero_params == p.params
        assert "not pruned" not in text.profile(p)


def test_a_mask_that_is_none() -> None:
    """A buffer of another shape that happens to be called so does not count."""
    model = nn.Module()
    model.register_parameter("weight_orig", nn.Parameter(torch.ones(4)))
    model.register_buffer("weight_mask", torch.zeros(2))
    model.register_forward_pre_hook(lambda *_: None)
    model.forward = lambda x: x * model.weight_orig  # type: ignore[method-assign]
    assert costmodel.profile(model, (2, 4)).nonzero_params == 4
