"""Saved profiles that were changed, cut or made up: each is one clear error, or reads back with every view."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import torch
from torch import nn

import costmodel
from costmodel.errors import ConvertError
from costmodel.saved import parse
from costmodel.schema import validator
from costmodel.views.json import schema
from tests.robustness.everything import look_at_everything

WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 10**9, 10**30, -(10**30), 2.5, 1e308, "", "nonsense", "\x1b[31m\n=1+1", [], [0], [[]], {},
    {"tensor": 0}, {"tensor": 10**6}, {"tuple": [1]}, {"other": "x"}, {"float": "nan"},
)  # fmt: skip
"""What each node of a document is replaced by."""

PATIENCE_S = 60.0


class Branches(nn.Module):
    """Convolutions, a norm, pools, a recurrent layer, attention, a concatenation and a write in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.lstm = nn.LSTM(4, 4, num_layers=2, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.pool = nn.AdaptiveAvgPool2d(2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        y = self.pool(self.norm(self.conv(x)))
        y = torch.cat([y, y.relu_()], 1)[:, :4]
        z, _ = self.lstm(y.flatten(2).transpose(1, 2))
        z, _ = self.attention(z, z, z)
        return z.softmax(-1), {"up": nn.functional.interpolate(y, scale_factor=2.0)}


MODELS = {
    "branches": lambda: costmodel.profile(Branches(), (1, 2, 9, 9)),
    "small": lambda: costmodel.profile(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()), (1, 1, 5, 5)),
}


def nodes(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each node of a document."""
    yield at
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(item, (*at, key))


def changed(document: Any, at: tuple[Any, ...], to: Any) -> Any:
    """The document with one node replaced; without it, if ``to`` is the function ``changed`` itself."""
    if not at:
        return to
    new = copy.deepcopy(document)
    part = new
    for key in at[:-1]:
        part = part[key]
    if to is changed:
        del part[at[-1]]
    else:
        part[at[-1]] = to
    return new


def mutations(document: Any, every: int) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Each place with one of the wrong values in turn (with each, for ``every`` = 1), and the document so changed."""
    for i, at in enumerate(list(nodes(document))):
        for j, wrong in enumerate((*WRONG, changed)):
            if (i + j) % every == 0 and not (at == () and wrong is changed):
                yield at, wrong, changed(document, at, wrong)


def attempt(text: str) -> str:
    """Reads a text, and asks everything of what it holds; returns what became of it. No other error may come."""
    started = time.monotonic()
    try:
        p = parse(text)
    except ConvertError:
        outcome = "refused"
    else:
        look_at_everything(p, figures=False)
        parse(p.to_json())
        outcome = "read"
    assert time.monotonic() - started < PATIENCE_S
    return outcome


@pytest.mark.parametrize("model", MODELS)
def test_no_change_of_a_document_hangs_or_fails_later(model: str) -> None:
    """Each node in turn is replaced or removed: the file is refused, or has every table, analysis and format."""
    document = json.loads(MODELS[model]().to_json())
    outcomes: Counter[str] = Counter()
    # Each node of the small model, and one in five of the other, takes one of the wrong values.
    for at, wrong, document_changed in mutations(document, every={"small": 24, "branches": 120}[model]):
        try:
            outcomes[attempt(json.dumps(document_changed))] += 1
        except Exception as error:
            raise AssertionError(f"{at} = {wrong!r}: {type(error).__name__}: {error}") from error
    assert outcomes["refused"] > outcomes["read"] > 0


def test_what_the_schema_refuses_is_refused() -> None:
    """Our validator, held to jsonschema: whatever that refuses, it refuses, and a valid document it accepts."""
    document = json.loads(MODELS["small"]().to_json())
    ours, theirs = validator(schema()), jsonschema.Draft202012Validator(schema())
    assert ours(document) is None
    refused = 0
    for at, wrong, document_changed in mutations(document, every=5):
        if not theirs.is_valid(document_changed):
            refused += 1
            assert ours(document_changed) is not None, (at, wrong)
        else:  # of what is valid, only a float in the place of an integer is refused
            assert ours(document_changed) is None or isinstance(wrong, float), (at, wrong)
    assert refused > 500


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"format": "costmodel-profile", "version": ' + "[" * 500 + "]" * 500 + "}", "has version"),
        ('{"a": NaN}', "NaN is not part of JSON"),
        ('{"a": [-Infinity]}', "-Infinity is not part of JSON"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ("\x00", "is not JSON"),
        ("", "is not JSON"),
    ],
    ids=["brackets", "a nested version", "NaN", "Infinity", "5000 digits", "zero byte", "nothing"],
)
def test_broken_texts_are_one_clear_error(text: str, says: str) -> None:
    """However a text is broken, it is an error of conversion in one line."""
    with pytest.raises(ConvertError, match=says) as found:
        parse(text)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 300


@pytest.mark.parametrize("levels", [40, 250, 3000])
def test_values_nested_too_deeply_are_refused(levels: int) -> None:
    """An argument nested within what is read has every view; beyond, the error says how deep it may be."""
    document = json.loads(MODELS["small"]().to_json())
    text = json.dumps(changed(document, ("graph", "kwargs"), "HERE"))
    text = text.replace('"HERE"', '{"dict": [["x", ' + "[" * levels + "]" * levels + "]]}")
    if levels < 64:
        assert attempt(text) == "read"
    else:
        with pytest.raises(ConvertError, match="nested"):
            parse(text)


@pytest.mark.parametrize(
    ("at", "to", "says"),
    [
        (("graph", "tensors", 0, 2), [1], r"tensor 0 has 4 dimensions and 1 strides"),
        (("graph", "tensors", 0, 0), [2**63], r"tensor 0 is larger than any tensor of torch"),
        (("graph", "tensors", 0, 3), 99, r"tensor 0 lies in storage 99"),
        (("graph", "calls", 1, "parent"), 1, r"call 1 runs inside call 1, which is no earlier one"),
        (("graph", "calls", 0, "end_op"), 10**6, r"call 0 runs ops 0 to 1000000"),
        (("graph", "ops", 0, "op"), "conv", r"op 0 is called 'conv', not namespace\.name\.overload"),
        (("graph", "ops", 0, "module"), -5, r"op 0 runs in call -5"),
        (("graph", "storages", 0, 1), "x", r"storage 0 has the role 'x'"),
        (("graph", "ops", 0, "args", "stride"), "x", r"op 0, aten\.convolution\.default cannot be computed: TypeError"),
        (("graph", "ops", 0, "outputs"), [-1], r"graph\.ops\[0\]\.outputs\[0\]: -1 is less than 0"),
        (("totals", "macs"), 1.5, r"the document\.totals\.macs: 1\.5 is not of type integer"),
    ],
)
def test_an_error_names_the_record(at: tuple[Any, ...], to: Any, says: str) -> None:
    """A record that contradicts another, or its schema, is named with what is wrong."""
    document = json.loads(MODELS["small"]().to_json())
    with pytest.raises(ConvertError, match=f"the text is damaged: .*{says}.*Save it again"):
        parse(json.dumps(changed(document, at, to)))


if __name__ == "__main__":  # every change of every node: python -m tests.robustness.test_damaged_files
    found: Counter[str] = Counter()
    for name, make in MODELS.items():
        for place, value, mutated in mutations(json.loads(make().to_json()), every=1):
            try:
                found[name, attempt(json.dumps(mutated))] += 1
            except Exception as error:
                found[name, "FAILED"] += 1
                sys.stdout.write(f"{place} = {value!r}: {type(error).__name__}: {error}\n")
    sys.stdout.write(f"{dict(found)}\n")
