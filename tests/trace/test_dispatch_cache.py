"""Answers from the dispatch cache are the first answers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import costmodel
from costmodel.graph import Graph
from costmodel.trace import trace
from costmodel.trace.dispatch_cache import CachedOutput, Dispatch, DispatchCache
from tests.trace.networks import Net, Recurrent, Transformer, UNet


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def recorded(graph: Graph) -> list[tuple[str, str, list[str], bool]]:
    """Every op with its arguments and outputs, strides and all."""
    return [(c.op, repr(c.args), [repr(t) for t in c.outputs], c.inplace) for c in graph.ops]


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts with an empty dispatch cache."""
    monkeypatch.setattr("costmodel.trace.dispatch_cache._caches", {})


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Net(), (2, 3, 8, 8)),
        (UNet(), (1, 3, 16, 16)),
        (Transformer(), (2, 3, 16, 16)),
        (Recurrent(), costmodel.Input((2, 5), torch.int64)),
        (costmodel.models.shufflenet_v1(), (1, 3, 64, 64)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_second_trace_records_what_the_first_did(model: nn.Module, inputs: Any, mode: Any) -> None:
    """Ops, module calls and lifetimes of storages are the same, whether rules or the cache are asked."""
    first, again = (trace(model, inputs, mode=mode) for _ in range(2))
    assert recorded(again) == recorded(first)
    assert repr(again.calls) == repr(first.calls)
    assert repr(again.storages) == repr(first.storages)


@pytest.mark.usefixtures("empty_cache")
def test_a_second_trace_asks_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every op of it is answered from the dispatch cache."""
    trace(Net(), (2, 3, 8, 8))
    added: list[str] = []
    add = DispatchCache.add

    def watched(self: DispatchCache, call: Dispatch, answer: CachedOutput) -> None:
        added.append(answer.op)
        add(self, call, answer)

    monkeypatch.setattr(DispatchCache, "add", watched)
    trace(Net(), (2, 3, 8, 8))
    assert added == []
    trace(Net(), (2, 3, 10, 10))
    assert "aten.convolution.default" in added


CALLS: dict[str, list[tuple[Callable[..., Any], str]]] = {
    "numbers of another type": [
        (lambda x: x * 2, "int64"), (lambda x: x * 2.0, "float32"), (lambda x: x + True, "int64"),
        (lambda x: x + 1, "int64"), (lambda x: x + 1.0, "float32"),
    ],
    "keywords": [
        (lambda x: torch.sum(x, dtype=torch.float64), "float64"), (lambda x: torch.sum(x, dtype=torch.int32), "int32"),
        (lambda x: torch.zeros_like(x, dtype=torch.bool), "bool"), (torch.zeros_like, "int64"),
    ],
    "optional tensors": [
        (lambda x: torch.clamp(x, 0, 3), "int64"), (lambda x: torch.clamp(x, 0.0, 3.0), "float32"),
        (lambda x: torch.where(x > 0, x, 1), "int64"), (lambda x: torch.where(x > 0, x, 1.5), "float32"),
    ],
}  # fmt: skip


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_calls_that_look_alike_are_told_apart(calls: list[tuple[Callable[..., Any], str]]) -> None:
    """1, 1.0 and True are equal in Python; what they make of integers is not the same."""
    x = torch.ones(300, 300, dtype=torch.int64)
    for _ in range(2):
        for function, dtype in calls:
            assert trace(Function(function), x, execution="meta").outputs.dtype == dtype
            assert str(function(x).dtype) == f"torch.{dtype}"


@pytest.mark.usefixtures("empty_cache")
def test_layouts_are_told_apart() -> None:
    """The same shape in another memory format has another answer."""
    conv = nn.Conv2d(3, 4, 3)
    for x in (torch.empty(1, 3, 8, 8), torch.empty(1, 3, 8, 8).to(memory_format=torch.channels_last)) * 2:
        assert trace(conv, x).outputs.full_strides == conv(x).stride()


@pytest.mark.usefixtures("empty_cache")
def test_default_dtypes_do_not_mix() -> None:
    """What an integer becomes under one default dtype is not remembered under another."""
    model, x = Function(lambda n: torch.sin(n)), torch.zeros(300, 300, dtype=torch.int64)
    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float32, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            assert f"torch.{trace(model, x).outputs.dtype}" == str(dtype)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.usefixtures("empty_cache")
def test_constants_are_not_remembered() -> None:
    """Small tensors of the model's own have values at every trace."""

    def function(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if int((torch.arange(4) * 2).sum()) == 12 else x

    for _ in range(3):
        assert costmodel.profile(Function(function), (2, 3), execution="meta").flops == 6 + 4 + 3


def test_the_cache_has_a_capacity(monkeypatch: pytest.MonkeyPatch, empty_cache: None) -> None:
    """It starts anew when it is full, and nothing is answered wrongly."""
    monkeypatch.setattr(DispatchCache, "capacity", 2)
    for n in range(1, 6):
        assert trace(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(n, 2)), (1, n)).outputs.shape == (1, 2)


def test_inference_mode_leaves_nothing_behind() -> None:
    """What a trace in inference mode remembered serves outside of it, and the other way round."""
    model = nn.Sequential(nn.Linear(7, 7), nn.ReLU(inplace=True), nn.Unflatten(1, (7, 1)))
    with torch.inference_mode():
        inside = costmodel.profile(model, (3, 7))
    outside = costmodel.profile(model, (3, 7))
    with torch.inference_mode():
        again = costmodel.profile(model, (3, 7))
    assert inside.flops == outside.flops == again.flops


@pytest.mark.usefixtures("empty_cache")
def test_modes_of_the_caller_leave_nothing_behind() -> None:
    """What a trace under somebody's FakeTensorMode remembered is plain outside of it."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    kinds: list[type] = []

    def function(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        kinds.append(type(y))
        return y * 2

    with FakeTensorMode():
        costmodel.profile(Function(function), (11, 13, 17), execution="meta")
    costmodel.profile(Function(function), (11, 13, 17), execution="meta")
    assert not issubclass(kinds[-1], FakeTensor)


def test_a_flattened_copy_is_still_a_copy() -> None:
    """Flattening and reshaping are free where memory allows, and copy where it does not."""
    for function in (lambda x: x.flatten(1), lambda x: x.reshape(2, -1), lambda x: F.relu(x).flatten(-2)):
        assert [c.op for c in trace(Function(function), (2, 3, 4)).ops][-1] == "aten.view.default"
    for function in (lambda x: x.mT.flatten(1), lambda x: x.mT.reshape(2, -1)):
        assert "aten.clone.default" in [c.op for c in trace(Function(function), (2, 3, 4)).ops]
    assert [c.op for c in trace(Function(lambda x: x.flatten(1)), (2, 3)).ops] == []


def test_records_go_to_another_process() -> None:
    """What only a trace needs stays behind."""
    graph = pickle.loads(pickle.dumps(trace(Net(), (1, 3, 8, 8))))
    assert {t.meta for op in graph.ops for t in op.outputs} == {None}


class SetsItsDilation(nn.Module):
    """One convolution at three dilations, as an atrous pyramid with shared weights has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for rate in (2, 3, 1):  # which leaves it as it was
            self.conv.dilation = self.conv.padding = (rate, rate)
            x = self.conv(x)
        return x


def test_hyper_parameters_are_those_of_each_call() -> None:
    """A forward that sets its layers' hyper-parameters is cross-checked with those that each call had."""
    model = SetsItsDilation()
    p = costmodel.profile(model, (1, 2, 9, 9))
    assert p.crosscheck().ok
    assert [call.layer.hyper["dilation"] for call in p.graph.calls if call.layer] == [(2, 2), (3, 3), (1, 1)]
    assert model.conv.padding == (0, 0)


@pytest.mark.usefixtures("empty_cache")
def test_where_a_model_lies_is_not_mixed_up() -> None:
    """A move to the CPU is one for a model on another device, and none for a model on the CPU."""
    for home, moves in (("cpu", 0), ("meta", 1), ("cpu", 0)):
        with torch.device(home):
            model = nn.Sequential(nn.Linear(3, 3), Function(lambda x: x.to("cpu")))
        assert [c.op for c in trace(model, (7, 3)).ops].count("aten._to_copy.default") == moves


def test_a_list_of_tensors_may_be_left_out() -> None:
    """An optional list of tensors of a custom op is None, or a list with None in it."""
    library = torch.library.Library("costmodel_tests", "FRAGMENT")
    library.define("some(Tensor x, Tensor[]? ys, Tensor?[] zs) -> Tensor")
    library.impl("some", lambda x, ys, zs: torch.empty_like(x), "Meta")
    some = torch.ops.costmodel_tests.some
    for ys, zs in ((None, [None]), ([], []), ([torch.ones(2)], [None, torch.ones(2)])):
        graph = trace(Function(lambda x, ys=ys, zs=zs: some(x, ys, zs)), (3, 4))
        assert [c.op for c in graph.ops] == ["costmodel_tests.some.default"]
