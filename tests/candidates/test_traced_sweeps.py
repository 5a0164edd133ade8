"""Sweeps of models that are built and traced: specs with names in braces, callables, inputs with names for sizes."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import costmodel
from costmodel.errors import InputError
from costmodel.measures import MEASURES
from tests.candidates.networks import small, small_macs

GRID = {"depth": [1, 2, 3, 4], "width": [8, 16], "size": [16, 32]}


def test_each_is_the_profile_of_its_model() -> None:
    """MACs by hand, and every measure as the profile of the model has it; an error of a model is a failure."""
    swept = costmodel.sweep(small, GRID, inputs=(1, 3, "size", "size"))
    assert len(swept.table) == 12
    for row in swept.table.to_dict("records"):
        assert row["macs"] == small_macs(row["depth"], row["width"], row["size"])
        p = costmodel.profile(small(row["depth"], row["width"]), (1, 3, row["size"], row["size"]))
        assert {name: row[name] for name in swept.measures} == {name: p.total(name) for name in MEASURES}
        assert row["is_exact"]
        assert row["input"] == f"1×3×{row['size']}×{row['size']} float32"
    assert swept.failures["error"].tolist() == ["RuntimeError: three is too many"] * 4
    assert swept.failures["depth"].tolist() == [3] * 4


def test_a_spec_has_names_in_braces() -> None:
    """Networks by name, arguments by value; one that does not exist is a failure that says so."""
    swept = costmodel.sweep("resnet{depth}", {"depth": [18, 34, 35]})
    assert swept.table["params"].tolist() == [11_689_512, 21_797_672]  # torchvision's documentation
    assert "no model is called 'resnet35'" in swept.failures["error"][0]
    halved = costmodel.sweep("mobilenet_v1(width={w})", {"w": [0.5]}, inputs=(1, 3, 64, 64))
    assert halved.table["params"].tolist() == [costmodel.models.closed_form("mobilenet_v1", width=0.5).params]


def test_own_networks_are_traced_where_inputs_are_given() -> None:
    """With inputs, a network of this library is a model like any other."""
    swept = costmodel.sweep("resnet18", {"batch": [1, 3]}, inputs=("batch", 3, 64, 64))
    forms = [costmodel.models.closed_form("resnet18", batch=batch, resolution=64) for batch in (1, 3)]
    assert swept.table["macs"].tolist() == [form.macs for form in forms]
    assert "peak_memory" in swept.measures


def test_a_lambda_takes_all_or_some_names() -> None:
    """Names of sizes need not be arguments; with **kwargs, all that are no sizes are."""
    one = costmodel.sweep(lambda c: nn.Linear(c, 2), {"c": [3, 4], "n": [5]}, inputs=("n", "c"))
    assert one.table["macs"].tolist() == [30, 40]
    other = costmodel.sweep(lambda **given: nn.Linear(len(given), 2), {"a": [1], "b": [1], "n": [7]}, inputs=("n", 2))
    assert other.table["macs"].tolist() == [28]


def test_registered_measures_are_columns() -> None:
    """A measure of one's own, of floats here, is in the table as in every other."""
    energy = costmodel.Measure(
        name="energy", title="energy", unit="pJ", means="of this test", additive=True,
        of_layer=lambda layer: 0.5 * layer.work.macs,
    )  # fmt: skip
    costmodel.register_measure(energy)
    try:
        swept = costmodel.sweep(small, {"depth": [1]}, inputs=(1, 3, 4, 4))
        assert swept.table["energy"].tolist() == [0.5 * small_macs(1, 8, 4)]
        assert swept.pareto("energy", "macs")["depth"].tolist() == [1]
    finally:
        costmodel.unregister_measure("energy")


def test_the_front_is_by_the_measures_that_are_named() -> None:
    """Of parameters and MACs by default; any measures that the sweep has."""
    swept = costmodel.sweep(small, {"depth": [1, 2], "size": [8, 4]}, inputs=(1, 3, "size", "size"))
    assert swept.pareto()[["depth", "size"]].to_numpy().tolist() == [[1, 4]]
    assert len(swept.pareto("params")) == 2
    with pytest.raises(InputError, match="the sweep has no measure 'watts'; it has params, macs"):
        swept.pareto("watts")


@pytest.mark.parametrize(
    ("what", "grid", "inputs", "message"),
    [
        ("timm:{arch}", {"arc": ["x"]}, None, r"\{arch\} in 'timm:\{arch\}' is not in the grid, which has arc"),
        ("timm:{a}", {"a": ["x"], "b": [1]}, None, r"the grid's b is nowhere in 'timm:\{a\}': write \{b\} where"),
        ("timm:{a", {"a": ["x"]}, None, r"'timm:\{a' cannot be read"),
        (small, {"depth": [1], "deep": [2]}, (1, 3, 8, 8), "small takes no deep; it is called as small"),
        (small, {"depth": [1]}, (1, 3, "r", "r"), "the size 'r' of inputs is not in the grid, which has depth"),
        (3, {"a": [1]}, None, "what is swept is the name of a network, a spec .* or a callable .*, not 3"),
        (small, {"depth": [1], "macs": [1]}, (1, 3, 8, 8), "small takes no macs"),
        (lambda **_: small(1), {"macs": [1]}, (1, 3, 8, 8), "macs in the grid is the name of a column of results"),
        (lambda **_: small(1), {"error": [1]}, (1, 3, 8, 8), "error in the grid is the name of a column of results"),
    ],
)
def test_what_does_not_go_together_is_refused(what: Any, grid: Any, inputs: Any, message: str) -> None:
    """Before anything is built, with the names that there are."""
    with pytest.raises(InputError, match=message):
        costmodel.sweep(what, grid, inputs=inputs)


def test_a_candidate_that_lacks_what_a_spec_needs_fails() -> None:
    """The others are computed; sizes that are no sizes, too, are failures of their candidates."""
    swept = costmodel.sweep("resnet{d}", [{"d": 18}, {"d": 18, "r": 64}, {"r": 64}], inputs=(1, 3, "r", "r"))
    assert swept.table["r"].tolist() == [64]
    assert swept.failures["error"].tolist() == ["r=None is no size: give an int", "the candidate lacks d"]


def test_what_the_code_of_a_model_raises_is_its_failure() -> None:
    """Also an exit; an interrupt of the user's is none, and ends the sweep."""

    def leaving(how: str) -> nn.Module:
        raise {"exit": SystemExit(3), "memory": MemoryError("no more"), "interrupt": KeyboardInterrupt()}[how]

    swept = costmodel.sweep(leaving, {"how": ["exit", "memory"]}, inputs=(1, 3))
    assert swept.failures["error"].tolist() == ["SystemExit: 3", "MemoryError: no more"]
    with pytest.raises(KeyboardInterrupt):
        costmodel.sweep(leaving, {"how": ["interrupt"]}, inputs=(1, 3))
