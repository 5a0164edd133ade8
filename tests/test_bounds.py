"""Figures that are lower bounds: where and why, in every view."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jsonschema import validate
from torch import nn

import costmodel
from costmodel.errors import UnknownOpError
from costmodel.graph import Note
from costmodel.ops.rule import RULES
from costmodel.trace.events import EventLog
from costmodel.views.json import schema

WHY = "how many pairs there are stands in the values"


@torch.library.custom_op("bounds_test::pairs", mutates_args=())
def _pairs(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@_pairs.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Pairs(nn.Module):
    """Runs an op whose cost depends on values where it is given more than one row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.bounds_test.pairs(x)


@pytest.fixture(autouse=True)
def rule() -> Iterator[None]:
    """A rule that knows no more than a lower bound of calls on several rows."""

    @costmodel.register_op(
        "bounds_test::pairs", bound_because=lambda call: WHY if call.args["x"].shape[0] > 1 else None
    )
    def work(call: costmodel.OpCall) -> costmodel.Work:
        return costmodel.Work(adds=call.outputs[0].size)

    yield
    del RULES["bounds_test.pairs.default"]


def model() -> nn.Module:
    """The op, between two layers that are exact."""
    return nn.Sequential(nn.Linear(4, 4), Pairs(), nn.ReLU())


def test_a_rule_says_which_calls_it_bounds() -> None:
    """The profile of such a call is not exact and says where and why; that of another is."""
    p = costmodel.profile(model(), (2, 4))
    assert not p.is_exact
    assert p.coverage.bounds == (Note("1", WHY),)
    assert p.coverage.unknown == {}
    assert costmodel.profile(model(), (1, 4)).is_exact
    assert costmodel.profile(model(), (1, 4)).coverage.bounds == ()


def test_strict_refuses_a_lower_bound() -> None:
    """The error says where and why, and how to go on."""
    with pytest.raises(UnknownOpError, match=f"lower bound: in 1, {WHY}.*strict=False"):
        costmodel.profile(model(), (2, 4), strict=True)


def test_every_view_says_where_and_why() -> None:
    """Text, Markdown, both kinds of HTML, the comparison and the cross-check."""
    p = costmodel.profile(model(), (2, 4))
    assert f"! coverage: totals are lower bounds (≥):\n    in 1: {WHY}" in str(p)
    assert f"⚠️ Coverage: totals are lower bounds (≥): in 1, {WHY}." in p.to_markdown()
    assert "have a rule" not in str(p) + p.to_markdown()
    assert f"<td><code>1</code></td><td>{WHY}</td>" in p.to_html()
    assert f"</strong> lower bounds: in 1, {WHY}" in p._repr_html_()
    assert f"A lower bound in 1: {WHY}." in p.crosscheck().to_markdown()
    compared = costmodel.compare({"a": model(), "b": nn.ReLU()}, (2, 4))
    assert WHY in compared.to_markdown()
    assert WHY in str(compared)
    assert "! lower bound" in compared.to_html()


def test_only_the_layers_concerned_are_marked() -> None:
    """The figures of the layers beside are exact."""
    lines = [
        line for line in str(costmodel.profile(model(), (2, 4))).splitlines() if " other " in line or "linear" in line
    ]
    assert ["≥" in line for line in lines] == [False, True]


def test_json_and_pickle_keep_what_the_trace_noted() -> None:
    """Notes of the trace itself come back; JSON without any has no key for them."""
    p = costmodel.profile(model(), (1, 4))
    plain = json.loads(p.to_json())
    assert "notes" not in plain["graph"]
    assert "bounds" not in plain["coverage"]
    noted = costmodel.profile(model(), (1, 4))
    noted.graph.notes.append(Note("1", "a tensor came from nowhere"))
    document = json.loads(noted.to_json())
    validate(document, schema())
    assert document["coverage"]["bounds"] == [{"where": "1", "why": "a tensor came from nowhere"}]
    assert not pickle.loads(pickle.dumps(noted)).is_exact


def test_json_with_notes_reads_back(tmp_path: Path) -> None:
    """So does the verdict."""
    noted = costmodel.profile(model(), (1, 4))
    noted.graph.notes.append(Note("1", "a tensor came from nowhere"))
    back = costmodel.read_json(noted.save(tmp_path / "p.json"))
    assert back.coverage.bounds == (Note("1", "a tensor came from nowhere"),)
    assert not back.is_exact


def test_a_note_of_the_trace_names_the_module_that_ran() -> None:
    """Each reason once for each module, however often it ran."""
    log = EventLog()
    log.add_note("w")
    log.call_starts += [("Inner", -1, 0, (), False), ("Inner", -1, 0, (), False)]
    for log.module in (0, 1, 0):
        log.add_note("why")
    assert log.notes() == [Note("", "w"), Note("<Inner>", "why")]


@pytest.mark.parametrize("empty", [False, True])
def test_nothing_derived_twice_is_no_tick(empty: bool) -> None:
    """Where no layer has a closed form, every view says so and why, and none says that all agree."""

    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if empty else x + x

    p = costmodel.profile(Doubled(), (2, 4))
    why = "no formula covers the layer that ran"
    assert f"! cross-check: nothing derived twice, for {why}" in str(p)
    assert f"⚠️ Cross-check: nothing derived twice, for {why}." in p.to_markdown()
    assert f"Nothing derived twice, for {why}" in p.to_html()
    assert f"</strong> nothing derived twice, for {why}" in p._repr_html_()
    both = costmodel.compare({"a": Doubled()}, (2, 4))
    assert "nothing derived twice" in both.to_markdown()
    assert "nothing derived twice" in str(both)
    assert "! nothing derived twice" in both.to_html()
    for view in (str(p), p.to_markdown(), p.to_html(), str(both), both.to_markdown(), p.crosscheck().to_markdown()):
        assert "agree to the last" not in view
        assert "equal to the last" not in view
