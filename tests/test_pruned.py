from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

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
    # 54 weights at 2 x 2 positions, and the linear layer; a bias is no factor.
    assert (p.macs, p.nonzero_macs) == (4 * 4 * 27 + 32, 4 * 54 + 32)
    assert p.layers.groupby("name")["nonzero_macs"].sum()[["0", "2"]].tolist() == [4 * 54, 32]
    assert p.layers.groupby("name")["nonzero_params"].sum()[["0", "2"]].tolist() == [57, 34]
    assert p.total("nonzero_params") == 91
    assert p.total("nonzero_macs") == 248
    assert "91 not pruned" in text.profile(p)
    assert "248 of weights not pruned" in text.profile(p)
    assert p.to_html().count("not pruned") >= 2


def test_the_masks_are_in_what_is_saved(tmp_path: Path) -> None:
    """JSON and pickles keep the figure."""
    p = costmodel.profile(pruned(), (1, 3, 4, 4))
    p.save(tmp_path / "p.json")
    for again in (costmodel.read_json(tmp_path / "p.json"), pickle.loads(pickle.dumps(p))):
        assert (again.nonzero_params, again.nonzero_macs) == (91, 248)


def test_a_model_that_is_not_pruned_has_no_remark() -> None:
    """Nor has one whose masks have no values, or whose zeros are its own."""
    whole = nn.Linear(4, 4)
    nn.init.zeros_(whole.weight)
    for model in (whole, pruned().to("meta")):
        p = costmodel.profile(model, (1, 4) if model is whole else (1, 3, 4, 4))
        assert (p.nonzero_params, p.nonzero_macs) == (p.params, p.macs)
        assert "not pruned" not in text.profile(p)


def test_a_mask_that_is_none() -> None:
    """A buffer of another shape that happens to be called so does not count."""
    model = nn.Module()
    model.register_parameter("weight_orig", nn.Parameter(torch.ones(4)))
    model.register_buffer("weight_mask", torch.zeros(2))
    model.register_forward_pre_hook(lambda *_: None)
    model.forward = lambda x: x * model.weight_orig  # type: ignore[method-assign]
    assert costmodel.profile(model, (2, 4)).nonzero_params == 4


def mask(*shape: int, zeros: int) -> torch.Tensor:
    """A mask of ones that begins with so many zeros."""
    whole = torch.ones(shape)
    whole.view(-1)[:zeros] = 0
    return whole


CUT = prune.custom_from_mask
LAYERS = [
    # (layer, masked parameters and their zeros, input, dense MACs, those left)
    # Every weight once for each of 5 x 5 positions of 2 samples, taps on the padding included.
    (nn.Conv2d(4, 6, 3, padding=1, groups=2), {"weight": 20}, (2, 4, 5, 5), 2 * 25 * 108, 2 * 25 * (108 - 20)),
    (nn.Conv1d(4, 6, 3, stride=2), {"weight": 7}, (1, 4, 9), 4 * 72, 4 * (72 - 7)),
    # Every weight once for each position of the input.
    (nn.ConvTranspose2d(4, 3, 2), {"weight": 11}, (1, 4, 3, 3), 9 * 48, 9 * (48 - 11)),
    (nn.Linear(8, 5), {"weight": 13, "bias": 2}, (3, 2, 8), 6 * 40, 6 * (40 - 13)),
    (nn.Bilinear(3, 4, 2), {"weight": 5}, [(6, 3), (6, 4)], 6 * (24 + 8), 6 * (24 + 8) - 6 * 5),
    # 5 steps of 2 sequences, both directions; W_ih is 16 x 3, W_hh 16 x 4.
    (nn.LSTM(3, 4, bidirectional=True), {"weight_ih_l0": 10, "weight_hh_l0_reverse": 3, "bias_ih_l0": 4}, (5, 2, 3),
     10 * 2 * 112, 10 * (2 * 112 - 13)),
    (nn.GRU(3, 4), {"weight_hh_l0": 8}, (5, 2, 3), 10 * 84, 10 * (84 - 8)),
    (nn.LSTM(3, 4, proj_size=2), {"weight_hr_l0": 3}, (5, 2, 3), 10 * (48 + 32 + 8), 10 * (88 - 3)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize(("layer", "zeros", "shapes", "dense", "left"), LAYERS)
def test_multiplications_by_what_is_left(
    layer: nn.Module, zeros: dict[str, int], shapes: Any, dense: int, left: int, execution: Any
) -> None:
    """A layer multiplies by each weight as often as by any other, so the zeros of a mask are so many fewer."""
    layer = copy.deepcopy(layer)
    for name, n in zeros.items():
        CUT(layer, name, mask(*getattr(layer, name).shape, zeros=n))
    p = costmodel.profile(layer, shapes, execution=execution)
    assert (p.macs, p.nonzero_macs) == (dense, left)
    assert p.nonzero_params == p.params - sum(zeros.values())


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        (lambda m: prune.l1_unstructured(m, "weight", 5), 59),
        (lambda m: prune.random_unstructured(m, "weight", 0.25), 48),
        (lambda m: prune.ln_structured(m, "weight", 2, n=2, dim=0), 48),
        (lambda m: prune.random_structured(m, "weight", 1, dim=1), 56),
        (lambda m: prune.identity(m, "weight"), 64),
        (lambda m: [prune.l1_unstructured(m, "weight", 16), prune.l1_unstructured(m, "weight", 0.5)], 24),
        (lambda m: prune.global_unstructured([(m, "weight")], prune.L1Unstructured, amount=10), 54),
        (lambda m: [prune.l1_unstructured(m, "weight", 5), prune.remove(m, "weight")], 64),
    ],
)
def test_every_kind_of_pruning(cut: Any, left: int) -> None:
    """By element, row or column, twice, globally; zeros of a weight whose mask was removed are its own values."""
    layer = nn.Linear(8, 8, bias=False)
    cut(layer)
    p = costmodel.profile(layer, (3, 8))
    assert (p.macs, p.nonzero_macs) == (3 * 64, 3 * left)
    assert (p.params, p.nonzero_params) == (64, left)


class Masked(nn.Module):
    """A parametrisation that masks."""

    def __init__(self, kept: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.kept


@pytest.mark.parametrize(
    ("kept", "left"), [(mask(8, 8, zeros=9), 55), (mask(8, 1, zeros=3), 40), (mask(8, 8, zeros=9).bool(), 55)]
)
def test_masks_in_parametrisations(kept: torch.Tensor, left: int) -> None:
    """Elements, or rows at once."""
    layer = nn.Linear(8, 8)
    parametrize.register_parametrization(layer, "weight", Masked(kept))
    p = costmodel.profile(layer, (3, 8))
    assert (p.nonzero_macs, p.nonzero_params) == (3 * left, left + 8)


class Own(nn.Linear):
    """A linear layer that masks its weight in its own forward, in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__(8, 8)
        self.how = how
        self.register_buffer("kept", mask(8, 8, zeros=9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w: Any = self.weight
        if self.how == "multiplied":
            w = w * self.kept
        elif self.how == "chosen":
            w = torch.where(self.kept.bool(), w, 0.0)
        elif self.how == "filled":
            w = w.masked_fill(~self.kept.bool(), 0.0)
        elif self.how == "in half precision":
            w = (w * self.kept).to(torch.bfloat16).to(torch.float32)
        elif self.how == "in parts":
            upper, lower = (w * self.kept).chunk(2)
            return torch.cat([x @ upper.t(), x @ lower.t()], -1)
        elif self.how == "joined":
            w = torch.cat([(w * self.kept)[:4], w[4:]])
        elif self.how == "then changed":
            w = w * self.kept
            w += 1
            return x @ w.t() + self.bias
        elif self.how == "scaled":
            w = -(w * self.kept) / 2
        return nn.functional.linear(x, w, self.bias)


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("multiplied", 55), ("chosen", 55), ("filled", 55),
        ("in half precision", 55), ("in parts", 55), ("joined", 55), ("scaled", 55),
        ("then changed", 64), ("not at all", 64),
    ],
)  # fmt: skip
def test_masks_of_a_layer_of_ones_own(how: str, left: int) -> None:
    """Zeros are followed from the mask to the product, as far as it is sure that they are zero."""
    p = costmodel.profile(Own(how), (3, 8))
    assert (p.macs, p.nonzero_macs) == (3 * 64, 3 * left)


def test_attention_with_a_pruned_projection() -> None:
    """The three projections of 4 x 4 are one weight, of which queries are pruned by 5."""
    layer = nn.MultiheadAttention(4, 2, bias=False, batch_first=True)
    CUT(layer, "in_proj_weight", mask(12, 4, zeros=5))
    p = costmodel.profile(layer, [(1, 6, 4)] * 3)
    assert p.macs - p.nonzero_macs == 6 * 5


def test_buffers_that_are_no_masks() -> None:
    """Numbers other than 0 and 1 are none, and a mask that nothing is multiplied by does nothing."""
    layer = Own("not at all")
    layer.register_buffer("table", mask(8, 8, zeros=3) * 2)
    p = costmodel.profile(layer, (3, 8))
    assert (p.nonzero_params, p.nonzero_macs) == (p.params, p.macs)


def test_two_of_four() -> None:
    """The sparsifier of torch.ao leaves two of every four weights, by a parametrisation."""
    from torch.ao.pruning import WeightNormSparsifier

    model = nn.Sequential(nn.Linear(16, 8, bias=False))
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    p = costmodel.profile(model, (3, 16))
    assert (p.macs, p.nonzero_macs, p.nonzero_params) == (3 * 128, 3 * 64, 64)


class Scores(nn.Module):
    """Attention with a causal mask as a buffer, which has the shape of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(8, 8)
        self.register_buffer("mask", torch.tril(torch.ones(8, 8)).bool())
        self.register_buffer("keep", torch.eye(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.q(x * self.keep)
        y = nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=self.mask)
        return y @ self.keep + (q @ q.transpose(-1, -2)).masked_fill(~self.mask, 0.0) @ q


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_zeros_and_ones_that_meet_no_parameter_prune_nothing(execution: Any) -> None:
    """Causal masks, and masks of activations, may have the shape of a weight."""
    p = costmodel.profile(Scores(), (2, 8, 8), execution=execution)
    assert (p.nonzero_macs, p.nonzero_params) == (p.macs, p.params)
    assert "not pruned" not in text.profile(p)


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_a_weight_that_is_read_without_calling_its_module(execution: Any) -> None:
    """Attention reads the masked weight of its output projection off the module: 15 rows, 30 zeros of 8 x 8."""
    layer = nn.MultiheadAttention(8, 2)
    prune.random_unstructured(layer.out_proj, "weight", 30)
    p = costmodel.profile(layer, [(5, 3, 8)] * 3, execution=execution)
    assert (p.macs - p.nonzero_macs, p.params - p.nonzero_params) == (15 * 30, 30)


class Twice(nn.Module):
    """One weight under two masks, or under one and as it is."""

    def __init__(self, *masks: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 4))
        for i, each in enumerate(masks):
            self.register_buffer(f"mask{i}", each)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for each in self.buffers():
            x = x @ (self.weight * each)
        return x


def test_a_parameter_of_several_uses() -> None:
    """Whatever any use leaves of it is not pruned: the halves of two triangles share a diagonal."""
    ones = torch.ones(4, 4)
    p = costmodel.profile(Twice(torch.tril(ones), torch.triu(ones)), (3, 4))
    assert (p.nonzero_params, p.macs, p.nonzero_macs) == (16, 2 * 3 * 16, 2 * 3 * 10)
    p = costmodel.profile(Twice(torch.tril(ones), torch.tril(ones, -1)), (3, 4))
    assert (p.nonzero_params, p.nonzero_macs) == (10, 3 * 10 + 3 * 6)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    CUT(model[1], "weight", mask(4, 4, zeros=10))
    p = costmodel.profile(model, (1, 4))
    assert (p.nonzero_params, p.nonzero_macs) == (16, 16 + 6)


class Channels(nn.Module):
    """A convolution whose output channels have a mask, a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.register_buffer("left", mask(8, zeros=4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.conv.weight * self.left.view(8, 1, 1, 1), self.conv.bias * self.left)


def test_a_mask_of_channels() -> None:
    """It is followed through a view: 4 of 8 channels of 27 weights and a bias, once for each of 2 x 2 positions."""
    p = costmodel.profile(Channels(), (1, 3, 4, 4))
    assert (p.nonzero_params, p.macs, p.nonzero_macs) == (4 * 28, 4 * 8 * 27, 4 * 4 * 27)


@pytest.mark.parametrize("model", [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.BatchNorm1d(4)])
def test_statistics_are_no_masks(model: nn.Module) -> None:
    """Those of a norm as it is built are zeros and ones."""
    p = costmodel.profile(model, (2, 3, 6, 6) if len([*model.children()]) else (2, 4))
    assert (p.nonzero_macs, p.nonzero_params) == (p.macs, p.params)
