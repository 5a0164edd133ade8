"""What layers keep under autocast: casts of inputs and of weights, in the dtype in which each computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel


class Cast(nn.Module):
    """A layer of an input in single or half precision, which is learnt or not."""

    def __init__(self, layer: nn.Module, *, half: bool, learnt: bool) -> None:
        super().__init__()
        self.layer, self.half, self.scale = layer, half, nn.Parameter(torch.ones(()))
        self.factor = nn.Parameter(torch.ones(()), requires_grad=learnt)

    def forward(self, *given: Tensor) -> Tensor:
        """In single precision."""
        taken = [x * self.factor if x.is_floating_point() else x for x in given]
        if self.half:
            taken = [x.bfloat16() if x.is_floating_point() else x for x in taken]
        y: Tensor = self.layer(*taken)
        return y.float().exp() * self.scale


def kept(module: nn.Module, layer: nn.Module, given: list[Tensor]) -> int:
    """Bytes that autograd keeps of a real call of a layer within a module, parameters and buffers apart."""
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    found: dict[int, torch.UntypedStorage] = {}
    inside: list[bool] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if inside and storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    handles = [
        layer.register_forward_pre_hook(lambda *_: inside.append(True)),
        layer.register_forward_hook(lambda *_: inside.clear()),
    ]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        module(*given)
    for handle in handles:
        handle.remove()
    return sum(storage.nbytes() for storage in found.values())


CLASSES = costmodel.Input((3,), "int64")
LAYERS: list[tuple[nn.Module, tuple[Any, ...]]] = [
    (nn.Linear(8, 6), ((3, 8),)), (nn.Linear(8, 6, bias=False), ((2, 3, 8),)),
    (nn.Conv2d(3, 4, 3), ((2, 3, 8, 8),)), (nn.ConvTranspose2d(3, 4, 3), ((2, 3, 8, 8),)),
    (nn.BatchNorm2d(3), ((2, 3, 4, 4),)),
    (nn.BatchNorm2d(3, affine=False), ((2, 3, 4, 4),)), (nn.LayerNorm(8), ((2, 3, 8),)),
    (nn.LayerNorm(8, elementwise_affine=False), ((2, 3, 8),)), (nn.GroupNorm(2, 4), ((2, 4, 8),)),
    (nn.InstanceNorm1d(3, affine=True), ((2, 3, 8),)),
    (nn.ReLU(), ((2, 3, 8),)), (nn.SiLU(inplace=True), ((2, 3, 8),)), (nn.GELU(), ((2, 3, 8),)),
    (nn.PReLU(), ((2, 3, 8),)), (nn.Softmax(-1), ((2, 3, 8),)), (nn.Dropout(), ((2, 3, 8),)),
    (nn.MaxPool2d(2), ((2, 3, 8, 8),)), (nn.AvgPool2d(2), ((2, 3, 8, 8),)), (nn.AvgPool3d(2), ((2, 3, 8, 8, 8),)),
    (nn.CrossEntropyLoss(), ((3, 5), CLASSES)), (nn.MSELoss(), ((3, 5), (3, 5))),
]  # fmt: skip


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("layer", "shapes"), LAYERS, ids=lambda x: str(x) if isinstance(x, nn.Module) else "")
def test_what_is_kept(layer: nn.Module, shapes: tuple[Any, ...], *, half: bool, learnt: bool) -> None:
    """By the formula, by the trace, and by a real run, to the byte."""
    model = Cast(layer, half=half, learnt=learnt)
    step = costmodel.training_step(model, costmodel.call(*shapes), autocast="bfloat16", optimizer=None)
    found = step.crosscheck()
    assert found.ok, found.mismatches
    given = [torch.zeros(3, dtype=torch.int64) if x is CLASSES else torch.rand(x) for x in shapes]
    expected = kept(model, layer, given)
    assert [c.closed_form for c in found.comparisons if (c.name, c.quantity) == ("layer", "saved bytes")] == [expected]


def test_a_product_keeps_casts() -> None:
    """Of 3 x 8 numbers and, for their gradient, of 6 x 8 weights, 2 bytes each; ReLU keeps the product's result."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 6), nn.ReLU())
    found = costmodel.training_step(model, (3, 8), autocast="bfloat16").crosscheck()
    kept = {c.name: c.closed_form for c in found.comparisons if c.quantity == "saved bytes"}
    assert kept == {"0": 2 * 3 * 8, "1": 2 * (3 * 8 + 6 * 8), "2": 2 * 3 * 6}
    assert found.ok, found.mismatches


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_networks(name: str) -> None:
    """Every layer of theirs, of two passes as well."""
    found = costmodel.training_step(name, (2, 3, 64, 64), autocast="bfloat16", steps=2).crosscheck()
    assert found.ok, found.mismatches
    assert sum(c.quantity == "saved bytes" for c in found.comparisons) > 100
