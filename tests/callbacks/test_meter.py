"""What is counted of a training: passes by the shapes of their batches, updates, and the time of both."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.callbacks.base import Costs
from costmodel.callbacks.clock import Clock
from costmodel.callbacks.like import like
from costmodel.callbacks.meter import FEW, Meter
from costmodel.callbacks.running import device_of, is_sharded, running_step, shapes

H100 = 66.9e12
"""FLOP/s of float32: NVIDIA, H100 Tensor Core GPU Architecture, FP32 of the SXM5 module."""


class Time:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The time that meters see."""
    made = Time()
    monkeypatch.setattr("costmodel.callbacks.meter.Clock", lambda: Clock(made))
    return made


def traced(rows: int, passes: int = 1, time: Time | None = None, **how: Any) -> costmodel.TrainingStep:
    """A step of one layer, 4 by 4: of each sample 16 MACs forward, and 16 for the gradient of the weights."""
    if time is not None:
        time.now += 1000
    model = nn.Sequential(nn.Linear(4, 4, bias=False))
    return costmodel.training_step(model, (rows, 4), optimizer="sgd", steps=passes, **how)


def of(rows: int, time: Time) -> Callable[[int], costmodel.TrainingStep]:
    """What traces it, which takes long."""
    return lambda passes: traced(rows, passes, time)


def test_utilisation_is_of_all_passes_since_the_last_time(time: Time) -> None:
    """Batches of two sizes, three passes an update; neither the first step nor the traces count."""
    meter = Meter("h100")
    for rows in (8, 8, 8, 8, 8, 2):
        meter.sees(rows, of(rows, time), 3)
        meter.ran(rows)
        time.now += 0.5
        if rows == 2 or len([*meter._passes.elements()]) == 3:
            meter.stepped()
    found = meter.figures()
    model_flops = 2 * (8 + 8 + 2) * (16 + 16)
    assert found["costs/step_seconds"] == 1.5
    assert found["costs/model_flops_per_second"] == model_flops / 1.5
    assert found["costs/mfu"] == found["costs/hfu"] == pytest.approx(model_flops / (1.5 * H100), rel=1e-9, abs=0)
    assert meter.figures() == {}


def test_one_size_of_batches_is_what_a_step_says_itself(time: Time) -> None:
    """The share of steps that are alike is ``TrainingStep.mfu`` of their mean time; over two devices half of that."""
    step = traced(8)
    for devices in (1, 2):
        for given in (None, step):
            meter = Meter("h100", "float32", given, devices)
            for seconds in (9.0, 0.25, 0.75):
                meter.sees("key", of(8, time))
                meter.ran("key")
                time.now += seconds
                meter.stepped()
            assert meter.figures()["costs/mfu"] == pytest.approx(step.mfu(0.5, "h100") / devices, rel=1e-9, abs=0)


def test_what_the_device_still_does_is_of_the_steps_that_ended(time: Time) -> None:
    """A clock that is stopped for figures has waited for it; the next figures begin there."""
    meter = Meter()
    for seconds in (9.0, 0.25, 0.25):
        meter.ran("key")
        time.now += seconds
        meter.stepped()
    time.now += 1.5
    assert meter.figures() == {"costs/step_seconds": 1.0}
    time.now += 0.5
    meter.stepped()
    assert meter.figures() == {"costs/step_seconds": 0.5}


def test_what_a_step_costs_is_said_once(time: Time) -> None:
    """Of several passes as the whole step is traced, though but two passes are."""
    meter, whole = Meter(), traced(8, 5)
    meter.sees("key", of(8, time), 5)
    assert meter.figures() == {
        "costs/params": 16, "costs/trainable_params": 16, "costs/step_macs": 5 * 8 * 32,
        "costs/step_flops": whole.flops, "costs/peak_memory": whole.peak_memory,
    }  # fmt: skip
    assert meter.figures() == {}


def test_what_is_computed_again_is_no_model_s_work(time: Time) -> None:
    """A checkpoint adds a forward to hfu, and nothing to mfu."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)
            return out

    meter = Meter("h100")
    meter.sees("key", lambda passes: costmodel.training_step(Checkpointed(), (8, 4), optimizer=None, steps=passes))
    for _ in range(2):
        meter.ran("key")
        time.now += 1
        meter.stepped()
    found = meter.figures()
    assert found["costs/hfu"] / found["costs/mfu"] == pytest.approx(3 / 2, rel=1e-9, abs=0)


def test_shapes_beyond_a_few_are_not_traced(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and utilisation is logged only of windows in which all steps are known."""
    meter = Meter("h100")
    for rows in range(1, FEW + 3):
        meter.sees(rows, of(rows, time))
        meter.ran(rows)
        time.now += 1
        meter.stepped()
    assert "costs/mfu" not in meter.figures()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"more than {FEW} shapes" in caplog.text
    meter.ran(3)
    time.now += 1
    meter.stepped()
    assert meter.figures()["costs/mfu"] == pytest.approx(2 * 3 * 32 / H100, rel=1e-9, abs=0)


def test_a_step_that_cannot_be_traced_is_said_and_timed(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is in the log, with what to do; seconds are logged."""

    def fails(_: int) -> costmodel.TrainingStep:
        raise RuntimeError("no such kernel")

    meter = Meter("h100")
    for _ in range(3):
        meter.sees("key", fails)
        meter.ran("key")
        time.now += 2
        meter.stepped()
    assert meter.figures() == {"costs/step_seconds": 2}
    assert "not known: RuntimeError: no such kernel. You may give it: step=costmodel.training_step" in caplog.text
    assert len(caplog.records) == 1
    caplog.clear()
    Meter(speaks=False).say("one of several processes speaks")
    assert not caplog.records


@pytest.mark.parametrize(
    ("make", "flops"),
    [
        # of each weight: 2 with a decay, 2 for the step; the first layer's has none
        (partial(torch.optim.SGD, lr=0.1, weight_decay=0.5), 2 * (16 + 8) + 2 * 8),
        (partial(torch.optim.SGD, lr=0.1, weight_decay=0.0), 2 * (16 + 8)),
    ],
)
def test_the_update_is_that_of_the_optimizer(make: Any, flops: int) -> None:
    """Class, settings and groups are its own, whose first group has no decay; a schedule's wrapper is left out."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
    first, second = model.parameters()
    optimizer = make([{"params": [first], "weight_decay": 0.0}, {"params": [second]}])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    step = running_step(model, (8, 4), module=model, optimizer=optimizer, say=pytest.fail)
    assert step.update.flops == flops
    assert step.crosscheck().ok
    assert schedule.get_last_lr() == [0.1, 0.1]
    assert not optimizer.state


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adagrad, torch.optim.RMSprop, torch.optim.NAdam])
def test_parameters_without_a_gradient_are_no_matter(kind: type[torch.optim.Optimizer]) -> None:
    """Of several groups, some of whose parameters the loss does not use, or that the optimizer does not have."""
    model = nn.ModuleDict({name: nn.Linear(4, 4, bias=False) for name in "abcd"})
    model["d"].requires_grad_(False)

    def forward(x: torch.Tensor) -> Any:
        return model["c"](model["a"](x))

    groups = [{"params": [model["a"].weight, model["b"].weight]}, {"params": [model["c"].weight], "lr": 0.5}]
    step = running_step(forward, (8, 4), module=model, optimizer=kind(groups, lr=0.1), say=pytest.fail)
    plain = costmodel.training_step(forward, (8, 4), optimizer=partial(kind, lr=0.1))
    assert step.update.flops == plain.update.flops > 0
    assert step.peak_memory == plain.peak_memory
    assert step.optimizer == kind.__name__


def test_an_optimizer_that_cannot_be_made_again_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """All but the update is counted."""

    class Odd(torch.optim.SGD):
        def __init__(self, parameters: Any, model: nn.Module) -> None:
            super().__init__(parameters, lr=0.1)

    model = nn.Linear(4, 4)
    said: list[str] = []
    step = running_step(model, (8, 4), module=model, optimizer=Odd(model.parameters(), model), say=said.append)
    assert step.update.flops == 0
    assert step.macs == 2 * 8 * 16
    (message,) = said
    assert message.startswith("the update is in no figure: optimizer=Odd cannot be made")
    with pytest.raises(costmodel.InputError, match="not those of the Linear"):
        like(torch.optim.SGD(model.parameters()), model)([torch.zeros(3)])


def test_batches_are_told_apart_by_shapes() -> None:
    """In containers and objects, and not by values."""

    class Batch:
        def __init__(self, n: int) -> None:
            self.x, self.names = torch.rand(n, 2), ["a", "b"]

    assert shapes(Batch(3)) == shapes(Batch(3)) != shapes(Batch(4))
    assert shapes({"a": [torch.zeros(2)]}) == shapes({"a": [torch.ones(2)]}) != shapes({"a": [torch.ones(2).int()]})
    itself: list[Any] = [torch.zeros(2)]
    itself.append(itself)
    assert shapes(itself) == (((2,), torch.float32),)


def test_a_part_of_a_model_is_not_taken_for_all() -> None:
    """Parameters that are split over processes are seen by their class."""
    whole = nn.Linear(2, 2)
    assert not is_sharded(whole)
    whole.weight.ds_id = 0  # as DeepSpeed's ZeRO marks them
    assert is_sharded(whole)
    assert is_sharded(type("FSDPLinear", (nn.Linear,), {})(2, 2))  # as fully_shard makes classes


TF32 = """
import torch
from costmodel.callbacks.running import uses_tf32

assert not uses_tf32()
torch.set_float32_matmul_precision("high")
assert uses_tf32()
torch.backends.cuda.matmul.fp32_precision = "none"
torch.backends.fp32_precision = "tf32"
assert uses_tf32()
torch.backends.cuda.matmul.fp32_precision = "ieee"
assert not uses_tf32()
"""


def test_tf32_is_seen_however_it_was_set() -> None:
    """By the older names and by the newer ones, of which torch refuses to be asked in the other way.

    In a process of its own, as torch.testing forbids for good to set them.
    """
    subprocess.run([sys.executable, "-c", TF32], check=True, env=dict(os.environ))


def test_a_gpu_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One that is not is said, with what to give; a CPU is of no interest."""

    class OnGpu(nn.Module):
        def parameters(self, recurse: bool = True) -> Any:
            return iter([SimpleNamespace(device=torch.device("cuda"))])

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    assert device_of(OnGpu()) == ("h100", "float32", "NVIDIA H100 80GB HBM3")
    assert device_of(nn.Linear(2, 2)) == (None, "float32", "")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(Costs, "_bases", lambda: (), raising=False)
    Costs()._begin(nn.Identity(), OnGpu(), untimed=())
    assert "no peak rates are known of a card, so no utilisation is logged: give device=" in caplog.text
