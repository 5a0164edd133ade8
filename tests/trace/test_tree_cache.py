"""A model is not registered again where its tree is as it was: any change is seen, and earlier profiles stay."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import costmodel
from costmodel.trace import forward, tree_cache

SHAPE = (2, 3, 8, 8)


class Net(nn.Module):
    """A convolution, a norm, and a block that is registered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.again = self.block
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        """Both."""
        return self.again(self.block(self.act(self.norm(self.conv(x)))))


def text(model: nn.Module) -> str:
    """All that a profile says."""
    return costmodel.profile(model, SHAPE).to_json()


def traced_often(model: nn.Module) -> nn.Module:
    """The model, of which the tree is kept."""
    for _ in range(3):
        costmodel.profile(model, SHAPE)
    return model


def test_the_third_trace_registers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what the first one says."""
    model = Net()
    first = text(model)
    assert text(model) == first
    monkeypatch.delattr(forward, "register_module_tree")
    assert text(model) == first
    with pytest.raises(NameError):
        text(Net())


CHANGES: dict[str, Callable[[Any], object]] = {
    "a parameter of another shape": lambda m: setattr(m.block[0], "weight", nn.Parameter(torch.zeros(5, 4, 1, 1))),
    "a parameter more": lambda m: m.register_parameter("scale", nn.Parameter(torch.ones(7))),
    "a parameter less": lambda m: setattr(m.conv, "bias", None),
    "a parameter of another name": lambda m: m._parameters.update(other=m._parameters.pop("unused")),
    "a parameter is frozen": lambda m: m.conv.weight.requires_grad_(False),
    "other data": lambda m: setattr(m.conv.bias, "data", torch.ones(1)),
    "another dtype": lambda m: m.double(),
    "other strides": lambda m: m.to(memory_format=torch.channels_last),
    "a buffer": lambda m: m.register_buffer("step", torch.zeros(3)),
    "a child": lambda m: setattr(m, "more", nn.Linear(3, 3)),
    "a child in another's place": lambda m: setattr(m, "act", nn.SiLU()),
    "a child that was another, too": lambda m: setattr(m, "again", nn.Identity()),
    "a child of another name": lambda m: m._modules.update(zzz=m._modules["norm"]),
    "another order": lambda m: m._modules.move_to_end("conv")
    if hasattr(m._modules, "move_to_end") else m._modules.update(conv=m._modules.pop("conv")),
    "another class": lambda m: setattr(m.act, "__class__", nn.SiLU),
    "an attribute": lambda m: setattr(m.conv, "stride", (2, 2)),
    "packed weights": lambda m: setattr(m, "packed", torch.ops.quantized.linear_prepack(
        torch.quantize_per_tensor(torch.zeros(4, 4), 1, 0, torch.qint8))),
    "a mask": lambda m: prune.l1_unstructured(m.conv, "weight", 0.5),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_between_two_traces_is_seen(change: Callable[[Any], object]) -> None:
    """The profile is that of a model that was changed before its first trace."""

    def said(model: nn.Module) -> str:
        change(model)
        try:
            return text(model)
        except costmodel.errors.ForwardError as error:
            return str(error)

    changed = said(traced_often(Net()))
    assert changed == said(Net())
    assert changed != text(Net())


def test_a_layer_in_the_place_of_one_like_it() -> None:
    """It has the other's name, also while the other lives."""
    model = traced_often(Net())
    others = model.act, model.norm
    model.act, model.norm = nn.ReLU(), nn.BatchNorm2d(4)
    assert text(model) == text(Net())
    del others


def test_earlier_profiles_keep_their_figures() -> None:
    """Also where a later trace takes another dtype, or a mask has other values then."""
    model = traced_often(Net())
    before = costmodel.profile(model, SHAPE)
    expected = before.to_json()
    assert costmodel.profile(model, SHAPE, dtype="bfloat16").params_bytes == before.params_bytes // 2
    costmodel.training_step(model, SHAPE)
    assert text(model) == before.to_json() == expected

    pruned = nn.Conv2d(3, 4, 3)
    prune.custom_from_mask(pruned, "weight", torch.ones(4, 3, 3, 3))
    traced_often(pruned)
    dense = costmodel.profile(pruned, SHAPE)
    pruned.weight_mask.zero_()  # type: ignore[operator]  # a buffer
    assert costmodel.profile(pruned, SHAPE).nonzero_params == 4
    assert dense.nonzero_params == 4 * 3 * 9 + 4


class Swaps(nn.Module):
    """Changes a layer while it runs, and changes it back."""

    def __init__(self, layer: nn.Module, name: str, value: Any) -> None:
        super().__init__()
        self.layer, self.name, self.held, self.swaps = layer, name, [value], [False]

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        if not self.swaps[0]:
            return self.layer(x)
        before = getattr(self.layer, self.name)
        setattr(self.layer, self.name, self.held[0])
        try:
            return self.layer(x)
        finally:
            setattr(self.layer, self.name, before)


@pytest.mark.parametrize(
    ("layer", "name", "value"),
    [
        (nn.Conv2d(3, 4, 3), "stride", (2, 2)), (nn.Conv2d(3, 4, 3), "weight", nn.Parameter(torch.zeros(8, 3, 1, 1))),
        (nn.Conv2d(3, 4, 3, bias=False), "bias", nn.Parameter(torch.zeros(4))), (nn.ReLU(), "inplace", True),
        (nn.ReLU(), "forward", torch.sigmoid),
    ],
)  # fmt: skip
def test_a_layer_that_is_changed_in_the_forward_alone(layer: nn.Module, name: str, value: Any) -> None:
    """It runs as it is when it is called, after many traces in which it was otherwise."""

    def ran(model: nn.Module) -> list[Any]:
        graph = costmodel.profile(model, SHAPE).graph
        return [(op.op, [t.shape for t in op.outputs], sorted(map(str, op.args.values()))) for op in graph.ops]

    model = traced_often(Swaps(layer, name, value))
    unchanged = ran(model)
    model.swaps[0] = True  # type: ignore[index,operator]  # a list
    assert ran(model) == ran(copy.deepcopy(model))
    assert ran(model) != unchanged


def test_a_list_among_the_attributes_may_change() -> None:
    """Its elements are no part of the module's tree."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model[0].stride = [1, 1]  # type: ignore[assignment]  # which torch takes
    assert costmodel.profile(traced_often(model), SHAPE).macs == 2 * 4 * 27 * 36
    model[0].stride[:] = [2, 2]  # type: ignore[index]
    assert costmodel.profile(model, SHAPE).macs == 2 * 4 * 27 * 9


def test_models_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that is known of them, also where they are in cycles; and no more are known than fit."""
    monkeypatch.setattr(tree_cache, "KNOWN_MODELS", type(tree_cache.KNOWN_MODELS)())
    monkeypatch.setattr(forward, "KNOWN_MODELS", tree_cache.KNOWN_MODELS)
    monkeypatch.setattr(type(tree_cache.KNOWN_MODELS), "capacity", 3)
    models = [traced_often(Net()) for _ in range(4)]
    assert len(tree_cache.KNOWN_MODELS) == 1
    models[-1].itself = [models[-1]]  # type: ignore[assignment]
    traced_often(models[-1])
    tensor = weakref.ref(models[-1].conv.weight)  # type: ignore[union-attr]
    del models
    gc.collect()
    assert tensor() is None
    assert not tree_cache.KNOWN_MODELS
