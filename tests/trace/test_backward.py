"""What autograd's engine does around the ops of a backward pass, and which module call each of those belongs to."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from costmodel.graph import OpCall, TensorSpec
from costmodel.trace.above_autograd import above_autograd
from costmodel.trace.backward import Backward, StepLog
from costmodel.trace.calls import Calls
from costmodel.trace.meta_executor import MetaExecutor
from costmodel.trace.modules import register_module_tree
from costmodel.trace.step_recorder import StepRecorder
from costmodel.trace.tensor_meta import TensorMeta
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import as_traced


class _Storages(TensorTable):
    """Every tensor has a storage of its own, as in a training step, so that references to it can be counted."""

    def make(self, meta: TensorMeta) -> tuple[torch.Tensor, TensorSpec]:
        template = meta.template
        assert template is not None
        tensor = torch.empty_strided(meta.shape, template.stride(), dtype=template.dtype, device="meta")
        (spec,) = self.adopt(as_traced(tensor))
        return tensor, spec


class Traced:
    """The log of a forward on meta and of what ``after`` does with its output, by default a loss and its backward."""

    def __init__(
        self,
        make: Callable[[], nn.Module],
        after: Callable[[torch.Tensor], Any] = lambda y: y.exp().sum().backward(),
        shape: tuple[int, ...] = (2, 4),
    ) -> None:
        with torch.device("meta"):
            model, x = make(), torch.empty(shape, requires_grad=True)
        self.log = StepLog()
        table = _Storages(self.log)
        modules, _ = register_module_tree(model, table)
        table.add_input(x, ())
        calls = Calls(table, lambda module, given, called, output: None, modules, real=False)
        with calls, Backward(self.log), above_autograd("cpu"), StepRecorder(table, MetaExecutor(table, "cpu")):
            y = model(x)
            self.backward_begins = len(self.log.events)
            after(y)
        self.input = x

    def backward(self) -> list[tuple[str, str | None]]:
        """The ops after the forward that are no views, with the module each belongs to: ``None`` where it is none's."""
        names = [call.name for call in self.log.calls()]
        views = {"aten.expand.default", "aten.t.default", "aten.detach.default", "aten.view.default"}
        return [
            (_short(op), names[op.module] if op.module >= 0 else None)
            for op in self.log.ops()[self.backward_begins :]
            if op.op not in views
        ]

    def engines(self) -> list[str]:
        """The ops of the engine's own."""
        ops = self.log.ops()
        return [name for name in (_short(ops[index]) for index in sorted(self.log.accumulations)) if name != "detach"]

    def recomputed(self) -> list[str]:
        """The ops of forwards that run once more."""
        ops = self.log.ops()
        return [_short(ops[index]) for index in sorted(self.log.recomputed)]


def _short(op: OpCall) -> str:
    return op.op.removeprefix("aten.").rpartition(".")[0]


LOSS = [("exp", None), ("sum", None), ("ones_like", None), ("mul", None)]


def test_an_op_of_a_backward_belongs_to_the_layer_whose_forward_made_its_node() -> None:
    """Each layer's gradients are its own, in whatever module it is; what the loss differentiates is no layer's."""
    traced = Traced(lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU()), nn.Sigmoid()))
    assert traced.backward() == [
        *LOSS,
        ("sigmoid_backward", "1"), ("threshold_backward", "0.1"), ("mm", "0.0"), ("mm", "0.0"),
    ]  # fmt: skip


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient + gradient.mul(1)


class _Uses(nn.Module):
    """One tensor, used by itself twice, by a custom function and by a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()

    def forward(self, x: torch.Tensor) -> Any:
        x = x.exp()
        return _Doubled.apply(x) + self.act(x) + x.sin()  # type: ignore[no-untyped-call]


def test_the_engine_adds_up_gradients_for_no_layer() -> None:
    """Where a tensor has several uses, the sum is no layer's; an addition that a function itself does is its own."""
    traced = Traced(lambda: nn.Sequential(_Uses()))
    assert traced.backward() == [
        *LOSS,
        ("cos", "0"), ("mul", "0"),
        ("tanh_backward", "0.act"), ("add_", None),
        ("mul", "0"), ("add", "0"), ("add_", None),
        ("mul", "0"),
    ]  # fmt: skip
    assert traced.engines() == ["add_", "add_"]


class _Shared(nn.Module):
    """The gradient of a sum is one tensor for both of its terms."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.exp()
        return x + x.sin()


def test_a_gradient_that_others_hold_is_not_added_to_in_place() -> None:
    """The engine adds in place where it holds the only reference: not where a second node waits for the gradient."""

    class Held(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            x, y = x.exp(), x.cos()
            return x + y + x  # y's backward has the gradient still when those of x are added

    assert ("add", None) in Traced(Held).backward()
    assert ("add_", None) in Traced(_Shared).backward()


class _Spaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.new_empty_strided(gradient.shape, (8, 1)).copy_(gradient)


def test_a_gradient_with_gaps_in_memory_is_not_added_to_in_place() -> None:
    """The sum of two such is stored without."""

    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            x = x.exp()
            return x.sin() + _Spaced.apply(x)  # type: ignore[no-untyped-call]

    assert ("add", None) in Traced(Model).backward()


def test_gradients_are_kept_by_no_layer() -> None:
    """A second backward pass adds to ``.grad``, which no layer does."""

    def twice(y: torch.Tensor) -> None:
        y.exp().sum().backward(retain_graph=True)
        y.exp().sum().backward()

    first, again = [*LOSS, ("mm", "0"), ("mm", "0")], [("add_", None), ("add_", None)]
    assert Traced(lambda: nn.Sequential(nn.Linear(4, 4, bias=False)), twice).backward() == [*first, *first, *again]


def test_a_graph_of_gradients_is_added_up_out_of_place() -> None:
    """With ``create_graph`` autograd records the additions, and nothing is recomputed."""
    inputs = []

    class Remember(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inputs.append(x)
            x = x.exp()
            return -x + x.neg()

    traced = Traced(Remember, lambda y: torch.autograd.grad(y.exp().sum(), inputs, create_graph=True))
    assert [op for op, module in traced.backward() if module is None] == ["exp", "sum", "ones_like", "mul", "add"]
    assert traced.recomputed() == []


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(4, 4, bias=False), nn.Tanh()

    def forward(self, x: torch.Tensor) -> Any:
        return self.act(self.linear(x)).sin()


class _Checkpointed(nn.Module):
    reentrant = False

    def __init__(self) -> None:
        super().__init__()
        self.block, self.last = _Block(), nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(checkpoint(self.block, x.exp(), use_reentrant=self.reentrant))


class _Reentrant(_Checkpointed):
    reentrant = True


class _Hooked(_Checkpointed):
    def __init__(self) -> None:
        super().__init__()
        self.block.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(("model", "last"), [(_Checkpointed, []), (_Hooked, []), (_Reentrant, ["sin"])])
def test_what_a_checkpoint_recomputes_is_known(model: type[nn.Module], last: list[str]) -> None:
    """The forward runs once more, for the same layers inside the same; not reentrant, it stops where all is there."""
    traced = Traced(model)
    assert [name for name in traced.recomputed() if name not in ("t", "detach")] == ["mm", "tanh", *last]
    calls = traced.log.calls()
    assert [(call.name, call.parent) for call in calls[:5]] == [
        ("", -1), ("block", 0), ("block.linear", 1), ("block.act", 1), ("last", 0),
    ]  # fmt: skip
    assert traced.log.original == {5: 1, 6: 2, 7: 3}
    again, *inside = calls[5:]
    assert (again.name, again.parent) == ("block", 0)
    assert [(call.name, call.parent) for call in inside] == [("block.linear", 5), ("block.act", 5)]
    gradients = [(op, module) for op, module in traced.backward() if (op, module) not in LOSS]
    assert gradients == [
        ("sigmoid_backward", "last"),
        ("mm", "block.linear"), ("tanh", "block.act"), *[(name, "block") for name in last],
        ("cos", "block"), ("mul", "block"), ("tanh_backward", "block.act"),
        ("mm", "block.linear"), ("mm", "block.linear"),
        ("mul", ""),
    ]  # fmt: skip


class _Twice(nn.Module):
    """One block called twice, each time within a checkpoint that is itself within one."""

    reentrant = False

    def __init__(self) -> None:
        super().__init__()
        self.block = _Block()

    def inner(self, x: torch.Tensor) -> Any:
        return checkpoint(self.block, x.exp(), use_reentrant=self.reentrant).exp()

    def forward(self, x: torch.Tensor) -> Any:
        x = checkpoint(self.inner, x.exp(), use_reentrant=self.reentrant)
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


class _TwiceReentrant(_Twice):
    reentrant = True


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # the first forward is without
@pytest.mark.parametrize("model", [_Twice, _TwiceReentrant])
def test_a_call_that_is_made_again_is_that_of_the_forward(model: type[nn.Module]) -> None:
    """Of a module that is called twice, the last call is made again first; a checkpoint within one makes it twice."""
    log = Traced(model).log
    names = [call.name for call in log.calls()]
    assert names[:7] == ["", *["block", "block.linear", "block.act"] * 2]
    assert all(names[again] == names[first] for again, first in log.original.items())
    assert [first for again, first in sorted(log.original.items())] == [4, 5, 6, 4, 5, 6, 1, 2, 3, 1, 2, 3]


def test_torch_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a backward pass fails, torch's own functions stand where they stood, and no hook is left."""
    before = torch.autograd._engine_run_backward, torch.autograd.graph._engine_run_backward  # type: ignore[attr-defined]

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError

    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return Fails.apply(x.exp())  # type: ignore[no-untyped-call]

    with pytest.raises(ZeroDivisionError):
        Traced(Model)
    now = torch.autograd._engine_run_backward, torch.autograd.graph._engine_run_backward  # type: ignore[attr-defined]
    assert now == before


CHOICES: list[Callable[[list[torch.Tensor], random.Random], Any]] = [
    lambda made, draw: draw.choice(made).exp(),
    lambda made, draw: draw.choice(made) + draw.choice(made),
    lambda made, draw: draw.choice(made) - draw.choice(made),
    lambda made, draw: draw.choice(made) * draw.choice(made),
    lambda made, draw: draw.choice(made) @ draw.choice(made),
    lambda made, draw: draw.choice(made).t(),
    lambda made, draw: draw.choice(made)[:1].expand(4, 4),
    lambda made, draw: draw.choice(made).sum(0).view(1, 4) + draw.choice(made),
    lambda made, draw: torch.cat([draw.choice(made), draw.choice(made)])[2:6],
    lambda made, draw: _Doubled.apply(draw.choice(made)),  # type: ignore[no-untyped-call]
    lambda made, draw: torch.where(draw.choice(made) > 0, draw.choice(made), draw.choice(made)),
    lambda made, draw: draw.choice(made).clone().relu_(),
]  # fmt: skip


class _Random(nn.Module):
    """Some functions, each of what others have made."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.linear = seed, nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        draw = random.Random(self.seed)
        made = [x, self.linear(x)]
        for _ in range(12):
            made.append(draw.choice(CHOICES)(made, draw))
        return made[-1] + made[-2] + made[-3]


def engine_additions(run: Callable[[], object]) -> list[str]:
    """What torch's profiler sees the engine add up, in a run without any dispatch mode."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        run()
    found, waiting = [], list(recorded.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.name.startswith("autograd::engine::evaluate_function"):
            found += [(c.start_time_ns, c.name) for c in event.children if c.name in ("aten::add", "aten::add_")]
    return [name.removeprefix("aten::") for _, name in sorted(found)]


@pytest.mark.parametrize("seed", range(40))
def test_gradients_are_added_in_place_where_a_real_run_does(seed: int) -> None:
    """Of any graph: each sum of gradients, in order, as the engine makes it without a trace."""
    model, x = _Random(seed), torch.ones(4, 4, requires_grad=True)
    y = model(x)
    real = engine_additions(lambda: y.exp().sum().backward())
    traced = Traced(lambda: _Random(seed), shape=(4, 4))
    assert [op for op, module in traced.backward() if module is None and op in ("add", "add_")] == real
