"""A measurement leaves the user's model, inputs and process as they were, also where it fails; and what it refuses."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from itertools import count
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.errors import ForwardError, InputError
from costmodel.timing import copied, runs
from tests.timing.ticking import CLOCK, DEVICE


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A device with round figures."""
    path = tmp_path / "own.toml"
    path.write_text(DEVICE, encoding="utf-8")
    return str(path)


class Restless(nn.Module):
    """A forward that changes buffers, parameters, attributes, containers and its input, and draws random numbers."""

    def __init__(self, fails_at: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.ones(3))
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("seen", torch.zeros(()))
        self.history: list[int] = []
        self.calls = 0
        self.fails_at = fails_at

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.history.append(self.calls)
        if self.fails_at and self.calls >= self.fails_at:
            raise ValueError("enough")
        self.get_buffer("seen").add_(1)
        with torch.no_grad():
            self.scale.mul_(2)
        self.linear.weight.data = self.linear.weight.data + 1
        x.add_(torch.rand_like(x))
        found: Tensor = self.norm(self.linear(x)) * self.scale
        return found


def is_run() -> bool:
    """Whether a forward runs to be measured: a trace is not in inference mode."""
    return torch.is_inference_mode_enabled()


def state(model: nn.Module) -> dict[str, Any]:
    """All that a forward may change, by value, and what hooks there are."""
    values = {name: (id(t), t.clone()) for name, t in (*model.named_parameters(), *model.named_buffers())}
    others = {
        name: (
            module.training, module._forward_hooks.copy(), module._forward_pre_hooks.copy(),
            [v for v in vars(module).values() if isinstance(v, int)],
        )
        for name, module in model.named_modules()
    }  # fmt: skip
    return {"tensors": values, "others": others, "history": list(getattr(model, "history", []))}


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two states are equal, and of the same tensors."""
    pairs = [(before["tensors"][name], after["tensors"][name]) for name in before["tensors"]]
    return (
        all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)
        and before["others"] == after["others"]
        and before["history"] == after["history"]
    )


def world() -> tuple[Any, ...]:
    """What of the process a measurement might change."""
    hooks = torch.nn.modules.module
    return (
        torch.get_num_threads(), torch.get_rng_state().tolist(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.backends.mha.get_fastpath_enabled(),
        len(hooks._global_forward_pre_hooks), len(hooks._global_forward_hooks),
    )  # fmt: skip


@pytest.mark.parametrize("fails_at", [0, 1, 5])
def test_nothing_of_the_users_is_changed(own: str, fails_at: int) -> None:
    """Neither by a measurement, nor by one whose forward fails in the first run or within the runs that count."""
    model, x = Restless(fails_at).train(), torch.ones(4, 3)
    model.norm.eval()
    before, around = state(model), world()
    if fails_at:
        with pytest.raises(ForwardError, match="ValueError: enough"):
            costmodel.measure(model, x, peaks=own, repeats=2, threads=1)
    else:
        costmodel.measure(model, x, peaks=own, repeats=2, threads=1)
    assert same(before, state(model))
    assert world() == around
    assert torch.equal(x, torch.ones(4, 3))


def test_each_run_begins_with_the_same_values(own: str) -> None:
    """Inputs that are changed in place, containers that grow, and random numbers are the same in each forward."""
    seen: list[tuple[Any, ...]] = []

    class Noted(nn.Module):
        def forward(self, x: Tensor, cache: list[Tensor], y: Tensor) -> Tensor:
            if is_run():
                seen.append((x.tolist(), len(cache), y.tolist(), torch.rand(2).tolist()))
            cache.append(x)
            y.mul_(3)
            return x.mul_(3)

    given, kept = torch.ones(2), [torch.zeros(1)]
    costmodel.measure(Noted(), (given, kept, (2, 2)), peaks=own, repeats=3)
    assert len(seen) == 3 + 2 * 3
    assert all(one == seen[0] for one in seen)
    assert (given.tolist(), len(kept)) == ([1.0, 1.0], 1)


def test_the_model_runs_in_eval_and_inference_mode(own: str) -> None:
    """Dropout does nothing, gradients are not recorded, whatever the user's flags are."""
    seen: list[tuple[bool, bool, int]] = []

    class Noted(nn.Dropout):
        def forward(self, x: Tensor) -> Tensor:
            if is_run():
                seen.append((self.training, torch.is_inference_mode_enabled(), torch.get_num_threads()))
            return super().forward(x)

    costmodel.measure(Noted().train(), (2, 2), peaks=own, repeats=1, threads=1)
    assert set(seen) == {(False, True, 1)}


def test_a_forward_that_differentiates_runs_with_autograd(own: str) -> None:
    """As that of a force field, which fails in inference mode; it is said, and no gradient is left."""

    class Force(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.clone().requires_grad_()
                self.linear(x).sum().backward()
                assert x.grad is not None
                return x.grad

    model = Force()
    m = costmodel.measure(model, (4, 3), peaks=own, repeats=1)
    assert m.setting.with_grad
    assert m.unmatched == ""
    assert "autograd recorded, as the forward differentiates" in " ".join(str(m).split())
    assert model.linear.weight.grad is None
    assert not costmodel.measure(nn.Linear(3, 1), (4, 3), peaks=own, repeats=1).setting.with_grad


def test_parameters_are_shared_and_not_copied(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model needs its memory once, but for what its forward writes; in another dtype there is a copy."""
    ran: list[list[int]] = []

    class Noted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            ran.append([p.data_ptr() for p in self.parameters()])
            return super().forward(x)

    model = Noted(3, 2)
    pointers = [p.data_ptr() for p in model.parameters()]
    costmodel.measure(model, (4, 3), peaks=own, repeats=1)
    assert ran[-1] == pointers
    m = costmodel.measure(model, (4, 3), peaks=own, repeats=1, dtype="bfloat16")
    assert not set(ran[-1]) & set(pointers)
    assert m.inputs == (((4, 3), "bfloat16"),)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_users_hooks_run_within_their_layers(own: str) -> None:
    """As in the profile, what one does before a forward is its layer's, and what one does afterwards outside."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    model[0].register_forward_pre_hook(lambda module, given: tick(0.25))
    model[0].register_forward_hook(lambda module, given, output: tick(4.0) or output * 2)
    m = costmodel.measure(model, (4, 3), peaks=own, repeats=1, clock=CLOCK)
    assert [row.name for row in m.rows if row.times is None] == ["mul"]
    assert m.rows[0].times is not None
    assert m.outside is not None
    assert (m.rows[0].times.median, m.outside.median, m.total.median) == (0.25, 4.0, 4.25)


def tick(seconds: float) -> None:
    """Moves the tests' clock."""
    CLOCK.now += seconds


def function(x: Tensor) -> Tensor:
    """No module."""
    return x + 1


def uncopied() -> nn.Module:
    """A model that holds what cannot be copied."""
    model = nn.Linear(3, 2)
    model.lock = threading.Lock()  # type: ignore[assignment]  # a module takes any attribute
    return model


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "a function": (lambda: function, {}, r"measure runs a copy of a module, and function is none: give a torch\.nn"),
    "a class": (lambda: nn.Linear, {}, r"costmodel prices a torch\.nn\.Module"),
    "on meta": (lambda: nn.Linear(3, 2, device="meta"), {}, r"Linear lies on the meta device and has no values: build"),
    "uncopied": (uncopied, {}, r"Linear cannot be copied \(TypeError: cannot pickle '_thread.lock' object\), and a"),
    "a device": (lambda: nn.Linear(3, 2), {"device": "gpu"}, r"device='gpu': give 'cpu', 'cuda' or 'cuda:1' \("),
    "another": (lambda: nn.Linear(3, 2), {"device": "mps"}, r"device='mps': times are taken on 'cpu' and 'cuda'"),
    "no gpu": (lambda: nn.Linear(3, 2), {"device": "cuda:99"}, r"device='cuda:99': torch sees"),
    "repeats": (lambda: nn.Linear(3, 2), {"repeats": 0}, r"repeats=0: give an int from 1"),
    "no repeats": (lambda: nn.Linear(3, 2), {"repeats": None}, r"repeats=None: give an int from 1"),
    "threads": (lambda: nn.Linear(3, 2), {"threads": 1.5}, r"threads=1\.5: give an int from 1"),
    "peaks": (lambda: nn.Linear(3, 2), {"peaks": "h101"}, r"no device is called 'h101', did you mean 'h100'"),
    "dtype": (lambda: nn.Linear(3, 2), {"dtype": "float31"}, r"float31"),
    "an integer dtype": (lambda: unmoved(), {"dtype": torch.int8}, r"such as torch\.bfloat16, not torch\.int8"),
    "a complex dtype": (lambda: unmoved(), {"dtype": "complex64"}, r"such as torch\.bfloat16, not torch\.complex64"),
    "no clock": (lambda: unmoved(), {"clock": None}, r"clock=None \(TypeError: .*as time\.perf_counter"),
    "a clock of no number": (lambda: unmoved(), {"clock": lambda: "12:00"}, r"as time\.perf_counter"),
    "a clock of nan": (lambda: unmoved(), {"clock": lambda: nan}, r"\(it reads nan\): give a function that reads"),
    "a clock that is given": (lambda: unmoved(), {"clock": lambda x: 1.0}, r"\(TypeError: .*missing 1 required"),
    "a clock that goes back": (lambda: nn.Linear(3, 2), {"clock": count(0, -1).__next__}, r"clock went from -\d+ to -"),
}  # fmt: skip


def unmoved() -> nn.Module:
    """A layer whose forward is never to be reached."""

    class Unmoved(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("it ran")

    return Unmoved(3, 2)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused(name: str, own: str) -> None:
    """An ``InputError`` says what, and what to do instead."""
    make, options, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        costmodel.measure(make(), (4, 3), **{"peaks": own, **options})


def test_a_forward_that_does_not_fit_is_refused(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it runs, with what it takes and what there is; and so is a copy that does not."""
    ran: list[bool] = []

    class Noted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            ran.append(is_run())
            return super().forward(x)

    monkeypatch.setattr(copied, "available_memory", lambda: 2**20)
    with pytest.raises(InputError, match=r"what is live in the forward takes 0\.5 GiB on cpu, which has 0\.0 GiB free"):
        costmodel.measure(Noted(1, 1), (2**26, 1), peaks=own)
    with pytest.raises(InputError, match="a copy of the model takes"):
        costmodel.measure(nn.Linear(1024, 1024), (1, 1024), peaks=own, dtype="bfloat16")
    assert set(ran) == {False}


def test_old_weight_norm_is_copied(own: str) -> None:
    """It leaves a tensor that autograd computed on the module, which torch does not copy."""
    with pytest.warns(FutureWarning, match="weight_norm"):
        model = nn.utils.weight_norm(nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    m = costmodel.measure(model, (4, 3), peaks=own, repeats=1)
    assert m.rows[0].times is not None


def test_inputs_are_what_a_profile_takes(own: str) -> None:
    """Arrays, keywords and calls, as profile reads them, and the model's own where none are given."""
    linear = nn.Linear(3, 2)
    for inputs in (np.ones((4, 3), np.float32), {"input": (4, 3)}, costmodel.call(input=torch.ones(4, 3))):
        assert costmodel.measure(linear, inputs, peaks=own, repeats=1).inputs == (((4, 3), "float32"),)
    linear.example_inputs = (5, 3)  # type: ignore[assignment]  # a module takes any attribute
    assert costmodel.measure(linear, peaks=own, repeats=1).inputs == (((5, 3), "float32"),)


def test_garbage_is_not_collected_within(own: str) -> None:
    """A pass would fall into one run or another; afterwards it is as before."""
    import gc

    seen: set[bool] = set()

    class Noted(nn.Identity):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of nn.Identity
            if is_run():
                seen.add(gc.isenabled())
            return input

    assert gc.isenabled()
    costmodel.measure(Noted(), (1,), peaks=own, repeats=1)
    assert seen == {False}
    assert gc.isenabled()
    assert runs.WARM_UP == 3


def test_a_forward_that_differentiates_is_measured_in_the_caller_s_inference_mode(own: str) -> None:
    """The copies that it differentiates are made outside of it, as is the profile."""

    class Learns(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x).sum().backward()
            return x

    with torch.inference_mode():
        for dtype in (None, "float64"):
            m = costmodel.measure(Learns(3, 2), (4, 3), peaks=own, repeats=1, dtype=dtype)
            assert m.setting.with_grad
