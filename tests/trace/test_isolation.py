"""The model leaves exactly as it came."""

from __future__ import annotations

import copy
import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import costmodel
from costmodel.ops import RULES
from tests.trace.networks import AsksForValues, Fails, Net, Recurrent


def everything(model: nn.Module) -> dict[str, Any]:
    """All that a forward could change, in a form that can be compared."""
    return {
        "tensors": {k: (id(v), v.clone(), v._version) for k, v in model.state_dict(keep_vars=True).items()},
        "flags": [m.training for m in model.modules()],
        "attributes": [
            {k: v if isinstance(v, (int, float, str, bool, tuple, type(None))) else id(v) for k, v in vars(m).items()}
            for m in model.modules()
        ],
        "lists": [list(v) for m in model.modules() for v in vars(m).values() if isinstance(v, list)],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "global hooks": (
            len(torch.nn.modules.module._global_forward_hooks),
            len(torch.nn.modules.module._global_forward_pre_hooks),
        ),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "grad mode": torch.is_grad_enabled(),
    }


def same(a: Any, b: Any) -> bool:
    """Equality that looks into tensors."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("execution", ["meta", "real"])
def test_nothing_of_the_model_changes(mode: Any, execution: Any) -> None:
    """Buffers, flags per module, hooks, gradients and attributes are as before, whichever way the model was read."""
    model = Net()
    model.block.bn2.eval()  # flags differ per module
    model.fc.weight.requires_grad_(False)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    model.stem.register_forward_hook(lambda m, a, o: None)
    before = everything(model)
    costmodel.profile(model, (2, 3, 8, 8), mode=mode, execution=execution).layers  # noqa: B018  # priced as well
    assert same(everything(model), before)


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_nothing_changes_when_forward_raises(execution: Any) -> None:
    """After an exception half-way the model, its lists and its attributes are as before."""
    model = Fails()
    before = everything(model)
    with pytest.raises(costmodel.ForwardError):
        costmodel.profile(model, (1, 3, 4, 4), mode="train", execution=execution)
    assert same(everything(model), before)
    assert not hasattr(model, "cache")


class WritesWhereItIsTold(nn.Module):
    """Writes into tensors of its own that are no op's first argument, all of whose values are known beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.count = nn.Buffer(torch.ones(4))
        self.plain = torch.ones(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Power iteration writes so, in torch's spectral norm."""
        with torch.no_grad():
            torch.div(self.count, 2, out=self.count)
            torch.div(self.weight, 2, out=self.weight)
            torch.frexp(self.count, out=(self.count, torch.zeros(4, dtype=torch.int32)))  # without a rule here
            torch._foreach_mul_([self.count, self.weight], 2.0)  # likewise
            self.plain.mul_(2)
        return x * self.count


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_what_an_op_is_told_to_write_into_stays(execution: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``out=`` of the model's own buffers and parameters is recorded, at the op's usual price, and not carried out."""
    monkeypatch.delitem(RULES, "aten.frexp.Tensor")
    monkeypatch.delitem(RULES, "aten._foreach_mul_.Scalar")
    model = WritesWhereItIsTold()
    before = everything(model)
    profile = costmodel.profile(model, (2, 4), execution=execution)
    assert same(before, everything(model))
    assert model.plain.tolist() == [1, 1, 1, 1]
    assert list(profile.coverage.unknown) == ["aten.frexp.Tensor_out", "aten._foreach_mul_.Scalar"]
    assert profile.coverage.counted["aten.div.Tensor"] == 2
    assert profile.flops == 4 + 4 + 4 + 2 * 4


def test_power_iteration_leaves_its_vectors() -> None:
    """A spectral norm in training mode is priced without taking a step."""
    model = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 4))
    before = everything(model)
    assert costmodel.profile(model, (2, 8), mode="train").is_exact
    assert same(before, everything(model))


def test_a_model_that_fell_back_to_real_tensors_is_unchanged() -> None:
    """Running statistics are not updated by the real run that a value-dependent model needs."""
    model = AsksForValues()
    before = everything(model)
    assert costmodel.profile(model, (3, 4), mode="train").execution == "real"
    assert same(everything(model), before)


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_random_state_is_kept(execution: Any) -> None:
    """The generators of torch, NumPy and Python give the same numbers as without the profile."""

    class Draws(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * random.random() + float(np.random.rand()) + torch.rand(x.shape)

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    costmodel.profile(Draws(), (2, 3), execution=execution)
    assert draw() == expected


def test_given_tensors_are_not_changed() -> None:
    """A tensor given as input keeps its values, also where the model works in place and runs for real."""
    x = torch.ones(2, 3)
    costmodel.profile(nn.ReLU(inplace=True), x - 5, execution="real")
    y = x.clone()
    costmodel.profile(nn.Hardtanh(-0.5, 0.5, inplace=True), y, execution="real")
    assert torch.equal(y, x)


def test_the_model_is_not_held_alive() -> None:
    """A profile holds figures, not the model or its weights."""
    import gc
    import weakref

    model = Recurrent()
    weight = weakref.ref(model.out.weight)
    p = costmodel.profile(model, costmodel.Input((2, 5), torch.int64))
    del model
    gc.collect()
    assert weight() is None
    assert p.params == 50 * 8 + 2 * (4 * 12 * (8 + 12 + 2)) + 2 * (4 * 12 * (24 + 12 + 2)) + 24 * 3 + 3


def test_sets_are_put_back() -> None:
    """A buffer that a forward registers is gone afterwards, and so is the note that it would not be saved."""

    class Registers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = {1, 2}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.register_buffer("cache", x, persistent=False)
            self.seen.add(x.shape[0])
            return x + 1

    model = Registers()
    costmodel.profile(model, (7, 2))
    assert (model.seen, model._non_persistent_buffers_set, dict(model.named_buffers())) == ({1, 2}, set(), {})


class Quantises(nn.Module):
    """Replaces the data of its weight and its buffer, as hand-written quantisation does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(300, 400)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, scale = self.linear.weight, self.get_buffer("scale")
        weight.data = torch.sign(weight.data)
        scale.data = scale.data * 2
        return self.linear(x) * scale


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_data_that_a_forward_replaces_is_put_back(device: str) -> None:
    """The parameter is the one it was, with the memory and the values it had."""
    with torch.device(device):
        model = Quantises()
    tensors = [*model.parameters(), *model.buffers()]
    before = [(t.data_ptr(), t.device.type, t.shape, t.detach().clone()) for t in tensors]
    assert costmodel.profile(model, (2, 300)).macs == 2 * 300 * 400
    for t, (pointer, home, shape, values) in zip(tensors, before, strict=True):
        assert (t.data_ptr(), t.device.type, t.shape) == (pointer, home, shape)
        assert t.is_meta or torch.equal(t, values)


@pytest.mark.parametrize(
    "change", [torch.sign, lambda w: w.t(), lambda w: w.view(torch.int32)], ids=["values", "t", "i"]
)
def test_small_data_that_a_forward_replaces_is_put_back(change: Any) -> None:
    """Small constants are computed for real, and so could be assigned for real; a transpose lies on the same memory."""

    class Assigns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(9.0).reshape(3, 3) - 4, requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.weight.data = change(self.weight.data)
            return x + 1

    model = Assigns()
    before = model.weight.clone(), model.weight.stride(), model.weight.dtype, model.weight.data_ptr()
    assert costmodel.profile(model, (7, 3), execution="meta").flops >= 21
    after = model.weight, model.weight.stride(), model.weight.dtype, model.weight.data_ptr()
    assert torch.equal(after[0], before[0])
    assert after[1:] == before[1:]


def test_containers_within_containers_are_put_back() -> None:
    """Lists in dictionaries, sets in lists, and what contains itself."""

    class Collects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[str, Any] = {"shapes": [], "sizes": [{1}], "more": {"deep": {}}}
            self.seen["itself"] = self.seen

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen["shapes"].append(x)
            self.seen["sizes"][0].add(x.numel())
            self.seen["more"]["deep"]["last"] = x
            return x + 1

    model = Collects()
    deep = model.seen["more"]["deep"]
    costmodel.profile(model, (7, 3))
    assert {k: v for k, v in model.seen.items() if k != "itself"} == {
        "shapes": [], "sizes": [{1}], "more": {"deep": {}}
    }  # fmt: skip
    assert model.seen["itself"] is model.seen
    assert model.seen["more"]["deep"] is deep


def test_a_models_own_way_into_a_mode_is_taken() -> None:
    """A ``train`` or ``__setattr__`` of a class, or a ``train`` of one module, decides which modules change."""

    class Frozen(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Frozen:
            super().train(False)
            return self

    class Noted(nn.Linear):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "training":
                noted.append(value)
            super().__setattr__(name, value)

    noted: list[object] = []
    plain = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    for layer in (Frozen(4), Noted(4, 4), nn.BatchNorm1d(4)):
        model = nn.Sequential(plain, layer)
        model.train()
        if type(layer) is nn.BatchNorm1d:
            layer.eval()
            layer.train = lambda mode=True, layer=layer: layer  # type: ignore  # as those do who freeze a part
        modes = [module.training for module in model.modules()]
        noted.clear()
        for mode in ("train", "eval"):
            graph = costmodel.profile(model, (2, 4), mode=mode).graph
            trained = {call.name for call in graph.calls if call.training}
            frozen = {"1"} if isinstance(layer, nn.BatchNorm1d) else set()
            assert trained == ({"", "0", "0.0", "0.1", "1"} - frozen if mode == "train" else set())
            assert [module.training for module in model.modules()] == modes
        assert noted == ([False] if isinstance(layer, Noted) else [])


@dataclass
class Pair:
    """What a model may be given."""

    a: torch.Tensor
    b: torch.Tensor


def test_values_out_of_sight_are_put_back() -> None:
    """A real run writes what the model holds in lists, objects and hidden modules, and into parameters; then not."""

    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [nn.BatchNorm1d(4)]
            self.held = [torch.zeros(4)]
            self.object = SimpleNamespace(held=torch.zeros(6))
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, pair: Pair) -> torch.Tensor:
            pair.a.mul_(2)
            torch.add(pair.a, 1, out=pair.b)
            self.held[0] += pair.a.mean(0)
            self.object.held[1:].add_(1)
            with torch.no_grad():
                self.scale.mul_(2)
            assert self.scale.sum() == 8  # which also asks for a value
            return self.hidden[0](pair.a) * self.scale  # type: ignore[no-any-return]  # as every module call

    model, pair = Writes(), Pair(torch.ones(2, 4), torch.zeros(2, 4))
    held = [pair.a, pair.b, *model.held, model.object.held, model.scale, *model.hidden[0].state_dict().values()]
    values, versions = [tensor.clone() for tensor in held], [tensor._version for tensor in held]
    assert costmodel.profile(model, (pair,), mode="train").execution == "real"
    assert all(map(torch.equal, held, values))
    assert [tensor._version for tensor in held] == versions


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_are_put_back(set_to_none: bool, execution: Any) -> None:
    """Of a forward that forgets or zeroes them."""

    class Forgets(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.zero_grad(set_to_none)
            return super().forward(x)

    model = Forgets(4, 4)
    model(torch.ones(2, 4)).sum().backward()
    grads = [model.weight.grad, model.bias.grad]
    values = [grad.clone() for grad in grads if grad is not None]
    costmodel.profile(model, (2, 4), execution=execution)
    assert [model.weight.grad is grads[0], model.bias.grad is grads[1]] == [True, True]
    assert torch.equal(model.weight.grad, values[0])
    assert torch.equal(model.bias.grad, values[1])


def test_every_container_is_put_back() -> None:
    """Queues and counters too."""

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.queue = deque([1, 2], maxlen=2)
            self.none: deque[torch.Tensor] = deque()
            self.lists: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
            self.counter = Counter(a=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.queue.append(3)
            self.none.append(x)
            self.lists["x"].append(x)
            self.counter.update("ab")
            return x

    model = Counts()
    held = [model.queue, model.none, model.lists, model.counter]
    before = copy.deepcopy(held)
    costmodel.profile(model, (2, 4))
    assert held == before
    assert [model.queue, model.none, model.lists, model.counter] == held
