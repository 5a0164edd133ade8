"""A saved training step reads back whole: every table and every view is that of the step that was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from torch import nn

import costmodel
from costmodel.errors import ConvertError
from costmodel.saved import parse
from costmodel.training import TrainingStep
from costmodel.views import json as writer
from costmodel.views.training.json import TOTALS


class Recurrent(nn.Module):
    """A norm with buffers, a shared layer and a layer that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.shared, self.frozen = nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.shared(torch.relu(self.shared(self.norm(x)))))


MADE = {
    "a small network with Adam": lambda: costmodel.training_step(Recurrent(), (3, 6), optimizer="adam"),
    "gradients added up": lambda: costmodel.training_step(Recurrent(), (3, 6), optimizer="sgd", steps=2),
    "gradients filled with zeros": lambda: costmodel.training_step(Recurrent(), (3, 6), set_to_none=False),
    "no update": lambda: costmodel.training_step(Recurrent(), (3, 6), optimizer=None),
    "resnet18": lambda: costmodel.training_step("resnet18", (2, 3, 64, 64), optimizer="momentum"),
}


@pytest.fixture(scope="module", params=MADE)
def step(request: pytest.FixtureRequest) -> TrainingStep:
    """A step of each kind."""
    return MADE[request.param]()


def test_a_step_reads_back_to_the_last_integer(step: TrainingStep, tmp_path: Path) -> None:
    """Every table, total and view of what was read equals that of what was saved."""
    again = costmodel.read_json(step.save(tmp_path / "step.json"))
    assert isinstance(again, TrainingStep)
    for name in ("layers", "memory", "curve"):
        assert getattr(again, name).equals(getattr(step, name)), name
    for name in (*TOTALS, "name", "optimizer", "autocast", "steps", "batch", "is_exact", "coverage"):
        assert getattr(again, name) == getattr(step, name), name
    for phase in ("forward", "loss", "backward", "update"):
        assert getattr(again, phase).ops.equals(getattr(step, phase).ops), phase
    assert again.crosscheck().rows.equals(step.crosscheck().rows)
    for view in ("__str__", "to_markdown", "to_html", "to_csv", "to_latex", "to_json", "_repr_html_"):
        assert getattr(again, view)() == getattr(step, view)(), view


def test_a_step_follows_its_schema(step: TrainingStep) -> None:
    """The shipped schema, with the definitions that it shares with a profile's, describes what is written."""
    schema = writer.schema("training")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(step.to_json()), schema)


def test_answers_follow_the_schema() -> None:
    """For a device with a memory and one without, and for bytes into which nothing fits."""
    step = costmodel.training_step(nn.Linear(3, 2), (4, 3))
    for asked in (
        step.with_answers(device="h100", seconds=0.1, memory="1GB"),
        step.with_answers(device="apple-m4", memory=10),
    ):
        document = json.loads(asked.to_json())
        assert len(document["answers"]) == 2
        jsonschema.validate(document, writer.schema("training"))
        assert parse(asked.to_json()) == step


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("step", "phases"), [["sideways", 0]]),
        (("totals", "saved_bytes"), 1.5),
        (("phases",), {}),
        (("graph", "ops"), "none"),
    ],
)
def test_the_schema_can_fail(step: TrainingStep, where: tuple[str, ...], wrong: Any) -> None:
    """A part of another shape is found, here and by the reader."""
    document = json.loads(step.to_json())
    at = document
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, writer.schema("training"))
    with pytest.raises(ConvertError, match="by its schema"):
        parse(json.dumps(document))


@pytest.mark.parametrize(
    ("key", "wrong", "says"),
    [
        ("saved", [[0, 10**6, 4, "forward"]], "saved tensor 0 is of call 0 and storage 1000000"),
        ("phases", [["forward", 3], ["backward", 1]], "the phases begin at ops"),
        ("gradients", [10**6], "gradients names 1000000"),
        ("recomputed", [10**6], "recomputed names 1000000"),
    ],
)
def test_records_that_contradict_each_other_are_found(key: str, wrong: Any, says: str) -> None:
    """A place that is not there is said, not met later by some view."""
    document = json.loads(MADE["no update"]().to_json())
    document["step"][key] = wrong
    with pytest.raises(ConvertError, match=says):
        parse(json.dumps(document))


def test_figures_stand_beside_what_ran(step: TrainingStep) -> None:
    """A script reads totals, phases and memory without this library."""
    document = json.loads(step.to_json())
    assert document["totals"]["peak_memory"] == sum(document["memory"].values())
    assert document["totals"]["macs"] == sum(phase["macs"] for phase in document["phases"].values())
    assert {row["name"] for row in document["layers"]} == set(step.layers["name"])
