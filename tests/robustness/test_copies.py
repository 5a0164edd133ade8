"""Results that are sent to another process, kept in a cache, or copied: all kinds, and what they consist of."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import sympy
from torch import nn

import costmodel
from costmodel import views
from costmodel.devices import device
from costmodel.rendering import Report
from costmodel.shown import Shown
from tests.decoding.networks import Tiny
from tests.results import one_of_each

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickled": lambda result: pickle.loads(pickle.dumps(result)),
    "copied": copy.deepcopy,
}

INTERNAL = ("costmodel.ops.", "costmodel.trace.")
"""Rules and what a trace writes down are of the process that has them: ops find theirs again."""


@pytest.fixture(scope="module")
def results() -> dict[str, Shown]:
    """One result of each kind, by the name of its view."""
    return one_of_each()


def texts(result: Shown) -> dict[str, str]:
    """All that it says, by format."""
    formats = views.VIEWS[result.view].keys() - {"figures", "png", "svg"}
    if isinstance(result, costmodel.Scaling):
        formats -= {"html"}  # whose picture has traces of the model, too, where that is there
    return {form: views.render(result, form) for form in formats}


def parts(value: object, seen: set[type]) -> Iterator[object]:
    """An object of this library and all that its public attributes lead to, of each class the first that is met."""
    kind = type(value)
    if isinstance(value, Mapping | list | tuple):
        for item in [*(value.values() if isinstance(value, Mapping) else value)][:1]:
            yield from parts(item, seen)
    elif kind.__module__.startswith("costmodel.") and not kind.__module__.startswith(INTERNAL) and kind not in seen:
        seen.add(kind)
        yield value
        computed = [name for name in dir(kind) if isinstance(getattr(kind, name), property | cached_property)]
        for name in (*getattr(kind, "__dataclass_fields__", ()), *computed):
            try:
                found = None if name.startswith("_") else getattr(value, name)
            except costmodel.CostModelError:
                continue  # it has none
            yield from parts(found, seen)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("view", views.VIEWS)
def test_a_result_says_the_same(view: str, how: str, results: dict[str, Shown]) -> None:
    """In each of its formats, although it was looked at before; a report equals it, and none of another kind."""
    expected = texts(results[view])
    again = COPIES[how](results[view])
    assert type(again) is type(results[view])
    assert texts(again) == expected
    if isinstance(again, Report):
        assert [other for other in results if again == results[other]] == [view]


@pytest.mark.parametrize("how", COPIES)
def test_so_does_each_part_of_a_result(how: str, results: dict[str, Shown]) -> None:
    """Layers, ops, kernels, findings: whatever an attribute gives; it reads the same where it shows its values."""
    seen: set[type] = set()
    for view, result in results.items():
        for part in parts(result, seen):
            again = COPIES[how](part)
            if " at 0x" not in repr(part):
                assert repr(again) == repr(part), view
    assert {"PricedOp", "Kernel", "QuantityCheck", "Region", "StepLayer"} <= {kind.__name__ for kind in seen}


@pytest.mark.parametrize("how", COPIES)
def test_what_no_view_shows_says_the_same(how: str) -> None:
    """Inputs, quantities, devices, checks and errors: what a caller gives, gets or catches."""
    form = costmodel.models.closed_form("alexnet")
    call = costmodel.call(costmodel.Input((2, 3), "int64"), size=costmodel.Value(3))
    for one in (
        call.args[0], costmodel.Value(3), costmodel.Work(macs=3), costmodel.Traffic(), device("h100"),
        form.receptive_field(), costmodel.models.published()[0], costmodel.TOOLS["fvcore"], form.rows[0],
        call,
    ):  # fmt: skip
        assert repr(COPIES[how](one)) == repr(one)
    checked = costmodel.models.check_closed_form(costmodel.profile("alexnet"), "alexnet")
    assert COPIES[how](checked).ok
    for name in dir(costmodel):
        kind = getattr(costmodel, name)
        if isinstance(kind, type) and issubclass(kind, costmodel.CostModelError):
            assert str(COPIES[how](kind("what happened"))) == "what happened"


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "arguments",
    [{"width": np.array([0.5, 1.0])}, {"batch": sympy.Symbol("B")}, {"training": True}, {"mode": "train", "batch": 3}],
)
def test_a_closed_form_derives_its_layers_anew(how: str, arguments: dict[str, Any]) -> None:
    """Of arrays and symbols too, and of a training: its table of layers is what it was."""
    form = costmodel.models.closed_form("mobilenet_v2", **arguments)
    again = COPIES[how](form)
    assert repr(again) == repr(form)
    assert again.layers.astype(str).equals(form.layers.astype(str))
    assert again.receptive_field() == form.receptive_field()


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("asked_before", [True, False])
def test_a_generation_has_its_figures_without_its_model(how: str, asked_before: bool) -> None:
    """All of its own, and the calls that were traced; another call, prompt or batch is an error that says why."""
    generated = costmodel.generation(Tiny(), prompt=5, new=4)
    if asked_before:
        assert generated.decode(6).macs > 0
    again = COPIES[how](generated)
    assert again == generated
    assert again.roofline("a100") is not None
    assert again.decode(7).macs == generated.decode(7).macs
    assert again.fits("1GB")
    for ask in (lambda: again.decode(8), lambda: again.largest_batch("1GB"), lambda: again.largest_prompt("1GB")):
        with pytest.raises(costmodel.InputError, match=r"without its model.*: make it anew by costmodel\.generation"):
            ask()


def test_a_picture_without_traces_says_so() -> None:
    """The page of a scaling whose model stayed in another process."""
    scaling = costmodel.scaling(nn.Linear(3, 2), ("B", 3))
    for result, captions in ((scaling, "the formula, and traces on it"), (copy.deepcopy(scaling), "the formula")):
        assert {caption.split(": ")[1] for caption, _ in views.render(result, "figures").values()} == {captions}


def test_a_result_of_what_cannot_be_pickled_is_pickled() -> None:
    """Neither a class without a module nor a closure keeps it from another process: the model stays here."""

    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.then = nn.Linear(3, 3), lambda x: 2 * x

        def forward(self, x: Any) -> Any:
            return self.then(self.layer(x))

    model = Local()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(model)
    swept = costmodel.sweep(lambda width: nn.Linear(3, width), {"width": [1, 2]}, inputs=(4, 3))
    for result in (
        costmodel.profile(model, (4, 3)), costmodel.training_step(model, (4, 3)), costmodel.scaling(model, ("B", 3)),
        costmodel.measure(model, (4, 3), repeats=2), swept,
    ):  # fmt: skip
        assert COPIES["pickled"](result) == result
