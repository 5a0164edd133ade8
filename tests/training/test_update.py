"""The update of a traced step against its closed form, a real optimizer's state, and what the allocator gives."""

from __future__ import annotations

from functools import cache
from itertools import accumulate

import pytest
import torch
from torch import nn, optim

import costmodel
from costmodel.graph import OpCall
from costmodel.ops import find
from costmodel.quantities import Traffic, Work
from costmodel.step_record import Phase, StepRecord
from costmodel.torch_private.autograd import foreach_takes
from costmodel.trace.step import trace_step
from costmodel.trace.traced_tensor import tensors_on
from costmodel.trace.twins import TracedParameter
from costmodel.training.optimizers import MakeOptimizer, resolve, update_in_closed_form
from tests.live_memory import allocations, peak
from tests.trace.test_optimizers import Seen, optimizers


class Network(nn.Module):
    """A convolution and a linear layer with a norm between, and a parameter that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 12, 3), nn.GroupNorm(3, 12)
        self.frozen = nn.Linear(16, 16)
        self.frozen.requires_grad_(False)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of images of 6 x 6."""
        found: torch.Tensor = self.head(self.frozen(self.norm(self.conv(x)).relu().flatten(2)))
        return found


class Layers(nn.Module):
    """Without biases: every parameter is a matrix, as Muon takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 12, bias=False), nn.Linear(12, 7, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of rows of 16."""
        found: torch.Tensor = self.second(self.first(x).relu())
        return found


def network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network that the optimizer takes, and the shape of its input."""
    torch.manual_seed(0)
    return (Layers(), (5, 16)) if name.startswith("Muon") else (Network(), (2, 3, 6, 6))


def loss(output: torch.Tensor) -> torch.Tensor:
    """Some loss."""
    return output.square().mean()


CASES = optimizers()
NAMES = [name for name, _ in CASES]
CLOSED = [(name, make) for name, make in CASES if name.split()[0] in ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop")]


@cache
def traced(name: str) -> StepRecord:
    """A step with the optimizer of that name."""
    model, shape = network(name)
    return trace_step(model, shape, loss=loss, optimizer=dict(CASES)[name])


def real(name: str) -> optim.Optimizer:
    """A real optimizer after its first step, with gradients for the next."""
    model, shape = network(name)
    parameters = [p for p in model.parameters() if p.requires_grad]
    loss(model(torch.rand(shape))).backward()
    optimizer = dict(CASES)[name](parameters)
    optimizer.step()
    return optimizer


def update_of(record: StepRecord) -> list[OpCall]:
    """The ops of the update."""
    ops = record.graph.ops
    return [ops[i] for i in record.ops_of("update")]


@pytest.mark.parametrize(("name", "make"), [pytest.param(*case, id=case[0]) for case in CLOSED])
def test_both_derivations(name: str, make: MakeOptimizer) -> None:
    """Work, elements read and written, and the bytes of the state: traced, and in closed form."""
    record = traced(name)
    work, traffic = Work(), Traffic()
    for call in update_of(record):
        rule = find(call.op)
        assert rule is not None
        work, traffic = work + rule.work(call), traffic + rule.traffic(call)
    trainable = [p for p in record.graph.parameters().values() if p.trainable]
    closed = update_in_closed_form(make, trainable)
    assert closed is not None
    assert (work, traffic.read, traffic.written) == (closed.work, closed.read, closed.written)
    assert state_bytes(record) == closed.state_bytes


def state_bytes(record: StepRecord) -> int:
    """What the optimizer keeps."""
    storages = record.graph.storages
    return sum(storages[i].nbytes for i in record.state)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_a_real_optimizers(name: str) -> None:
    """Bytes of the distinct storages of its tensors after a step."""
    state = [t for own in real(name).state.values() for t in own.values() if isinstance(t, torch.Tensor)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state}
    assert state_bytes(traced(name)) == sum(storages.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_peak_is_a_real_updates(name: str) -> None:
    """The most that the second update holds of what it makes, to the byte; tensors of one number apart."""
    optimizer = real(name)
    held = [made for made in allocations(lambda: optimizer.step() and None) if made.nbytes > 8]
    assert made_at_most(traced(name)) == peak(held)


def made_at_most(record: StepRecord, which: Phase = "update") -> int:
    """The most bytes at once of tensors that an update makes."""
    (span,) = (span for phase, span in record.spans() if phase == which)
    change: dict[int, int] = {}
    for storage in record.graph.storages:
        if storage.allocated_at in span and storage.nbytes > 8:
            change[storage.allocated_at] = change.get(storage.allocated_at, 0) + storage.nbytes
            if storage.freed_after is not None:
                change[storage.freed_after + 1] = change.get(storage.freed_after + 1, 0) - storage.nbytes
    return max(accumulate(change[i] for i in sorted(change)), default=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_peak_is_a_real_first_updates(name: str) -> None:
    """The most that an optimizer holds as it is made and makes its first update, its state included."""
    model, shape = network(name)
    parameters = [p for p in model.parameters() if p.requires_grad]
    loss(model(torch.rand(shape))).backward()
    kept: list[optim.Optimizer] = []

    def first() -> None:
        kept.append(dict(CASES)[name](parameters))
        kept[0].step()

    held = [made for made in allocations(first) if made.nbytes > 8]
    assert made_at_most(traced(name), "first update") == peak(held)


def test_an_optimizer_that_needs_values() -> None:
    """Adafactor's step length is the norm of a parameter: the step runs for real, and leaves the model alone."""
    model, shape = network("")
    before = [p.detach().clone() for p in model.parameters()]
    record = trace_step(model, shape, loss=loss, optimizer=optim.Adafactor)
    assert record.graph.execution == "real"
    assert all(p.grad is None and torch.equal(p, was) for p, was in zip(model.parameters(), before, strict=True))
    assert state_bytes(record) > 0


def test_a_gpu_updates_lists_of_twins() -> None:
    """On a GPU, where nothing is asked for, torch updates lists: also of what stands for the parameters."""
    twin = torch.empty(4, device="meta")
    twin.__class__ = TracedParameter
    twin.grad = torch.empty(4, device="meta")
    for device, op in (("cuda", "aten._foreach_add_.List"), ("cpu", "aten.add_.Tensor")):
        with tensors_on(torch.device(device)), foreach_takes(TracedParameter), Seen() as seen:
            optim.SGD([twin], lr=0.1).step()
        assert [name for name, _ in seen.ops] == [op]


def test_each_step_has_counters_of_its_own() -> None:
    """What a trace counts is of that trace: the third update of no parameter is ever reached."""
    for _ in range(2):
        model, shape = network("")
        record = trace_step(model, shape, loss=loss, optimizer=resolve("adam")[1])
        scales = {call.args["value"] for call in update_of(record) if call.op == "aten.addcdiv_.default"}
        assert scales == {-1e-3 / (1 - 0.9**2)}


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "adagrad", "rmsprop"])
def test_the_cross_check_of_a_step_has_the_update(name: str) -> None:
    """Arithmetic, memory access and state in closed form equal the trace's; of other optimizers nothing is said."""
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    found = costmodel.training_step(model, (2, 8), optimizer=name).crosscheck()
    assert [c.quantity for c in found.comparisons if c.name == "update"] == ["flops", "memory_access", "state_bytes"]
    assert found.ok
    of_a_part = costmodel.training_step(model, (2, 8), optimizer=lambda _: torch.optim.Adam(model[1].parameters()))
    assert not [c for c in of_a_part.crosscheck().comparisons if c.name == "update"]
