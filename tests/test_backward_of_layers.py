"""The backward passes of torch's modules, as the layers' hyper-parameters give them, against what torch runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

import costmodel
from costmodel.formulas import LayerCost
from costmodel.layers.registry import cost_of
from tests.formulas._backward import needs, quantities, real

X, X_1, X_3 = (2, 4, 9, 8), (2, 4, 9), (2, 4, 5, 6, 7)
INDICES, FLAT, STARTS = torch.randint(0, 9, (2, 5)), torch.randint(0, 9, (7,)), torch.tensor([0, 3])
PLACES = torch.randint(0, 36, (2, 4, 3, 3))

LAYERS: list[tuple[nn.Module, tuple[Any, ...]]] = [
    (nn.Conv2d(4, 6, 3, padding=1, groups=2), (X,)),
    (nn.Conv2d(4, 6, 3, bias=False), (X[1:],)),
    (nn.Conv2d(4, 6, 3, padding="same"), (X,)),
    *((nn.Conv2d(4, 6, 3, padding=2, padding_mode=mode), (X,)) for mode in ("reflect", "replicate", "circular")),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (X,)),
    (nn.Linear(4, 6), ((2, 5, 4),)),
    (nn.Linear(4, 6, bias=False), ((4,),)),
    (nn.Bilinear(4, 3, 6), ((2, 5, 4), (2, 5, 3))),
    (nn.Bilinear(4, 3, 6), ((4,), (3,))),
    (nn.Bilinear(4, 3, 6), ((1, 4), (1, 3))),
    (nn.Embedding(9, 4, padding_idx=1), (INDICES,)),
    (nn.Embedding(9, 4, scale_grad_by_freq=True), (INDICES,)),
    (nn.Embedding(9, 4), (FLAT[:1].clone().expand(5),)),
    (nn.EmbeddingBag(9, 4), (INDICES,)),
    (nn.EmbeddingBag(9, 4, mode="sum", padding_idx=1, scale_grad_by_freq=True), (INDICES,)),
    (nn.EmbeddingBag(9, 4, mode="max"), (FLAT, STARTS)),
    (nn.MaxPool2d(3, 2, padding=1), (X,)),
    (nn.MaxPool1d(3, return_indices=True), (X_1,)),
    (nn.MaxPool3d(2, ceil_mode=True), (X_3[1:],)),
    (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False), (X,)),
    (nn.AvgPool2d(3, 2, divisor_override=2), (X,)),
    (nn.AvgPool1d(3), (X_1,)),
    (nn.AdaptiveAvgPool2d((3, None)), (X,)),
    (nn.AdaptiveAvgPool2d(1), (X,)),
    (nn.AdaptiveMaxPool2d(3), (X,)),
    (nn.FractionalMaxPool2d(2, output_ratio=0.5), (X,)),
    (nn.LPPool2d(3, 2), (X,)),
    (nn.Flatten(), (X,)),
    (nn.Unflatten(1, (2, 2)), (X,)),
    (nn.Identity(), (X,)),
    (nn.Dropout(), (X,)),
    (nn.Dropout(inplace=True), (X,)),
    (nn.Dropout2d(), (X,)),
    (nn.Upsample(scale_factor=2), (X,)),
    (nn.Upsample(size=(5, 7), mode="bilinear"), (X,)),
    (nn.UpsamplingNearest2d(scale_factor=1.5), (X,)),
    (nn.PixelShuffle(2), (X,)),
    (nn.PixelUnshuffle(2), ((2, 4, 8, 6),)),
    (nn.ChannelShuffle(2), (X,)),
    (nn.ZeroPad2d((1, 0, 2, 1)), (X,)),
    (nn.ConstantPad1d(1, 3.0), (X_1,)),
    (nn.ReflectionPad2d(2), (X,)),
    (nn.ReplicationPad3d(1), (X_3[1:],)),
    (nn.CircularPad2d((1, 0, 2, 1)), (X,)),
    (nn.Unfold(2, stride=2), ((2, 4, 8, 6),)),
    (nn.Fold((8, 6), 2, stride=2), ((2, 16, 12),)),
    (nn.MaxUnpool2d(2), ((2, 4, 3, 3), PLACES)),
]


def _tensors(shapes: Sequence[Any]) -> list[torch.Tensor]:
    return [shape if isinstance(shape, torch.Tensor) else torch.randn(shape) for shape in shapes]


def _cost(module: nn.Module, tensors: Sequence[torch.Tensor]) -> LayerCost:
    """Of the module's call in training, by its closed form."""
    profile = costmodel.profile(module, tuple(tensors), mode="train")
    cost = cost_of(profile.graph.calls[0])
    assert cost is not None
    return cost


def _run(module: nn.Module, inputs: int, names: Sequence[str], *tensors: torch.Tensor) -> Any:
    return functional_call(module, dict(zip(names, tensors[inputs:], strict=True)), tensors[:inputs])


def _name(layer: Any) -> str:
    return " ".join(str(layer).split()) if isinstance(layer, nn.Module) else ""


@pytest.mark.parametrize(("module", "shapes"), LAYERS, ids=_name)
def test_a_layer_s_backward_is_torch_s(module: nn.Module, shapes: tuple[Any, ...]) -> None:
    """Each combination of gradients: work, elements read and written, and what is kept."""
    tensors = _tensors(shapes)
    cost, floats = _cost(module, tensors), [t.is_floating_point() for t in tensors]
    weights = {name: p for name, p in module.named_parameters() if "bias" not in name}
    biases = {name: p for name, p in module.named_parameters() if "bias" in name}
    function = partial(_run, module.train(), len(tensors), (*weights, *biases))
    for wanted in needs(len(tensors), weight=bool(weights), bias=bool(biases)):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and wanted["bias"] and not wanted["weight"]:
            continue  # the CPU's kernel computes the weight's gradient too, and drops it
        if all(ok or not asked for ok, asked in zip(floats, wanted["inputs"], strict=True)):
            run = real(function, tensors, list(weights.values()), list(biases.values()), wanted=wanted)
            expected = run.quantities()
            if isinstance(module, nn.EmbeddingBag):
                expected["kept"]["made"] -= 8  # the CPU's kernel finds the bag of each index with a place to spare
            assert quantities(cost.backward(**wanted)) == expected, wanted


def test_a_bilinear_layer_of_one_tensor_keeps_it_once() -> None:
    """Its gradient is the sum of both, and each product of three takes it as often as before."""
    module, x = nn.Bilinear(4, 4, 6), torch.randn(5, 4)
    cost = _cost(module, (x, x))
    names = [name for name, _ in module.named_parameters()]

    def run(x: torch.Tensor, *parameters: torch.Tensor) -> Any:
        return functional_call(module, dict(zip(names, parameters, strict=True)), (x, x))

    for wanted in needs(1, weight=True, bias=True):
        found = real(run, [x], [module.weight], [module.bias], wanted=wanted)
        assert quantities(cost.backward(**wanted)) == found.quantities(), wanted
