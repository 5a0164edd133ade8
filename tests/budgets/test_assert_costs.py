"""``assert_costs`` holds every quantity to its last integer, and traces a model once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel import InputError, Measure, assert_costs
from costmodel.budgets import subject as subjects
from costmodel.budgets.finding import held
from costmodel.budgets.quantities import quantities

SHAPE = (2, 3, 8, 8)
MACS, PARAMS = 2 * 6 * 6 * 8 * 27, 8 * 27 + 8


def network() -> nn.Module:
    """A convolution and an activation."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())


def missed(model: Any = None, inputs: Any = SHAPE, **bounds: Any) -> str:
    """What the assertion says."""
    with pytest.raises(AssertionError) as raised:
        assert_costs(model or network(), inputs, **bounds)
    return str(raised.value)


def test_a_bound_holds_to_the_last_integer() -> None:
    """Hand-counted figures keep the bound that is exactly them, from both sides, and no tighter one."""
    assert_costs(network(), SHAPE, macs=[f"<={MACS}", f">={MACS}"], params=f"=={PARAMS}")
    assert missed(macs=f"<{MACS}") == (
        "Sequential does not keep its budget:\n✗ MACs: 15,552 MACs of less than 15,552 MACs"
    )
    assert missed(params=f"=={PARAMS + 1}").endswith("✗ params: 224 params of exactly 225 params, 0.4% under")


def test_every_quantity_is_the_profile_s_or_the_step_s() -> None:
    """Each is what ``profile`` and ``training_step`` have, on a device and in a memory, and keeps itself."""
    p, step = costmodel.profile(network(), SHAPE), costmodel.training_step(network(), SHAPE, optimizer="sgd")
    forward = {name: p.total(name) for name in costmodel.measures.MEASURES}
    expected = forward | {
        "training_macs": step.macs, "training_flops": step.flops,
        "training_memory_access_bytes": step.memory_access_bytes, "forward_macs": step.forward.macs,
        "backward_macs": step.backward.macs, "saved_bytes": step.saved_bytes, "training_peak": step.peak_memory,
        "time": p.roofline("a100", "tf32").time, "fused_time": p.roofline("a100", "tf32").fused_time,
        "training_time": step.roofline("a100", "tf32").time,
        "fused_training_time": step.roofline("a100", "tf32").fused_time, "largest_batch": step.largest_batch("1MB"),
    }  # fmt: skip
    settings = subjects.Settings(optimizer="sgd", device="a100", memory="1MB", math="tf32")
    subject = subjects.Subject("net", network(), SHAPE, settings)
    assert {name: of.value(subject) for name, of in quantities().items()} == expected
    whole = {name: f"=={value}" for name, value in expected.items() if isinstance(value, int)}
    assert_costs(network(), SHAPE, optimizer="sgd", memory="1MB", **whole)


def test_the_largest_batch_is_the_one_whose_step_fits() -> None:
    """The peak of a step with that batch fits into the memory, and that of the next does not; a device has a memory."""
    batch = next(b for b in range(1, 999) if costmodel.training_step(network(), (b + 1, 3, 8, 8)).peak_memory > 10**5)
    assert_costs(network(), SHAPE, largest_batch=f"== {batch}", memory="100kB")
    assert f"largest training batch in 100kB: {batch} samples of at least 4,096 samples" in missed(
        largest_batch=">= 4096", memory="100kB"
    )
    assert_costs(network(), SHAPE, largest_batch=">= 1000", device="h100")


def test_a_training_step_is_made_as_it_is_said() -> None:
    """Another batch, dtype, loss, optimizer and autocast are another peak."""
    peaks = set()
    for how in ({}, {"batch": 4}, {"optimizer": "adamw"}, {"dtype": "float64"}, {"loss": lambda y: (y * y).sum()}):
        peak = costmodel.training_step(
            network(),
            (how.get("batch", 2), *SHAPE[1:]),
            **{"optimizer": "sgd"} | {k: how[k] for k in how if k != "batch"},
        ).peak_memory
        assert_costs(network(), SHAPE, training_peak=f"=={peak}", **{"optimizer": "sgd"} | how)
        peaks.add(peak)
    assert len(peaks) == 5


@pytest.mark.parametrize(
    ("bounds", "profiles", "steps"),
    [
        ({"macs": "<=1G", "params": "<=1G", "time": "<=1s"}, 1, 0),
        ({"training_peak": "<=1GB", "saved_bytes": "<=1GB", "training_time": "<=1s"}, 0, 1),
        ({"macs": "<=1G", "training_peak": "<=1GB", "time": ["<=1s", "<=2s"]}, 1, 1),
    ],
)
def test_work_is_done_once(bounds: dict[str, Any], profiles: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is built once, and traced once for its forward and once for its step, if a bound is on one of them."""
    counts = {"profile": 0, "training_step": 0, "load": 0}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    for name in ("profile", "training_step"):
        monkeypatch.setattr(subjects, name, counted(name, getattr(subjects, name)))
    monkeypatch.setattr("costmodel.loading.load", counted("load", costmodel.load))
    device = {"device": "h100"} if any("time" in name for name in bounds) else {}
    assert_costs("mobilenet_v1_cifar", **device, **bounds)
    assert counts == {"profile": profiles, "training_step": steps, "load": 1}


def test_an_inexact_figure_keeps_no_upper_bound() -> None:
    """An op without a rule makes figures lower bounds: one below the limit shows nothing, and the op is named."""
    library = torch.library.Library("budget_test", "DEF")
    library.define("odd(Tensor x) -> Tensor")
    library.impl("odd", lambda x: x.clone(), "CompositeExplicitAutograd")
    library.impl("odd", torch.empty_like, "Meta")

    class Odd(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.budget_test.odd(super().forward(x))

    said = missed(Odd(4, 4), (1, 4), macs="<= 1G")
    assert "✗ MACs: ≥ 16 MACs of at most 1.00 GMACs, but only a lower bound of it is known" in said
    assert "budget_test.odd.default" in said
    assert_costs(Odd(4, 4), (1, 4), params="== 20", macs=">= 16")


def test_a_registered_measure_is_held() -> None:
    """One of the user's own, a float."""
    costmodel.register_measure(
        Measure(
            name="budget_cost", title="cost", unit="cents", additive=True, means="made up",
            of_layer=lambda layer: 0.5 * len(layer.parameters),
        )
    )  # fmt: skip
    try:
        assert_costs(network(), SHAPE, budget_cost="== 1.0 cents")
        assert "✗ cost: 1 cents of less than 1 cents" in missed(budget_cost="< 1")
    finally:
        costmodel.unregister_measure("budget_cost")


def test_a_measure_without_a_total_keeps_no_bound() -> None:
    """What does not add up over layers has nothing that could be compared, and is not 0."""
    costmodel.register_measure(
        Measure(
            name="budget_density", title="density", unit="", additive=False, means="made up",
            of_layer=lambda layer: 1000,
        )
    )  # fmt: skip
    try:
        for text in ("<= 3", "== 0", ">= 3"):
            with pytest.raises(InputError, match=r"budget_density has no total .* has no of_model"):
                assert_costs(network(), SHAPE, budget_density=text)
    finally:
        costmodel.unregister_measure("budget_density")


def test_a_saved_profile_is_held(tmp_path: Any) -> None:
    """A file in the place of a model, whose inputs are fixed; a step that it has not is an error."""
    path = str(costmodel.profile(network(), SHAPE).save(tmp_path / "net.json"))
    assert_costs(path, macs=f"=={MACS}")
    for bounds, says in (({"macs": "<=1", "inputs": SHAPE}, "are fixed"), ({"training_peak": "<=1"}, "saved profile")):
        with pytest.raises(InputError, match=says):
            assert_costs(path, **bounds)


def test_nonsense_is_an_error() -> None:
    """No bound, a loss that is no function, an unknown device and a mode that is none are no failure of a budget."""
    for bounds, says in (
        ({}, "give a bound at least"),
        ({"training_peak": "<=1GB", "loss": 3}, "loss=3 is no function"),
        ({"time": "<=1s", "device": "tpu"}, "no device is called 'tpu'"),
        ({"macs": "<=1", "mode": "test"}, "mode is 'eval' or 'train'"),
    ):
        with pytest.raises(InputError, match=re.escape(says)):
            assert_costs(network(), SHAPE, **bounds)


def test_what_is_forgotten_first_is_an_error_that_says_what_to_write() -> None:
    """A class in the place of a module, and inputs of a model that does not say what it takes."""
    with pytest.raises(InputError, match=r"not its class: make one, Linear\(\.\.\.\)"):
        assert_costs(nn.Linear, (1, 4), macs="<= 1k")
    with pytest.raises(InputError, match=r"pass inputs, .* in a budget file input = \[1, 3, 224, 224\]"):
        assert_costs(network(), macs="<= 1k")


def test_figures_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bounds on the largest batch look for it once."""
    found = []
    monkeypatch.setattr("costmodel.training.TrainingStep.largest_batch", lambda step, memory: found.append(memory) or 7)
    settings = subjects.Settings(memory="1GB")
    from costmodel.budgets.bounds import bounds_of

    bounds = bounds_of({"largest_batch": [">= 1", "<= 8"]}, settings)
    assert [f.value for f in held(subjects.Subject("net", network(), SHAPE, settings), bounds)] == [7, 7]
    assert found == ["1GB"]
