from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from torch import nn

import costmodel
from costmodel.errors import ConvertError
from costmodel.formulas import LayerCost
from costmodel.graph import Graph, TensorSpec
from costmodel.layers import USER_LAYERS
from costmodel.measures import MEASURES
from costmodel.saved import parse
from costmodel.views import json as writer


class Sundry(nn.Module):
    """Arguments of many kinds: infinities, tuples, dicts, None, several inputs and outputs, a shared module."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.shared = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, *, extra: dict[str, Any]) -> dict[str, Any]:
        y, (h, _) = self.lstm(x)
        mask = torch.full((3, 3), -math.inf).triu(1)
        z, _ = self.attention(y, y, y, attn_mask=mask, need_weights=False)
        z = self.shared(self.shared(z)) * extra["scale"] + y.clamp(max=math.inf)
        return {"z": z, "h": [h, (z, None)]}


UPSAMPLED = nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.AdaptiveAvgPool2d(1))
"""Strides that are fractions, and then none."""


def profiles() -> dict[str, costmodel.Profile]:
    """Networks that between them have every kind of record."""
    return {
        "resnet18": costmodel.profile("resnet18"),
        "train": costmodel.profile("mobilenet_v3_small", mode="train"),
        "sundry": costmodel.profile(Sundry(), {"x": (2, 3, 4), "extra": {"scale": (4,)}}),
        "3d": costmodel.profile("hybridsn"),
        "upsampled": costmodel.profile(UPSAMPLED, (1, 1, 9, 9)),
        "frozen": costmodel.profile(nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)), (1, 4)),
    }


@pytest.fixture(scope="module", params=["resnet18", "train", "sundry", "3d", "upsampled", "frozen"])
def profile(request: pytest.FixtureRequest) -> costmodel.Profile:
    """Each of them."""
    return profiles()[request.param]


def test_a_profile_reads_back_to_the_last_integer(profile: costmodel.Profile, tmp_path: Path) -> None:
    """Totals, tables, coverage, cross-check and memory of what is read equal those of what was writer."""
    again = costmodel.read_json(profile.save(tmp_path / "deep" / "p.json"))
    for name in MEASURES:
        assert again.total(name) == profile.total(name), name
    for table in ("layers", "ops", "modules"):
        assert getattr(again, table).equals(getattr(profile, table)), table
    assert again.coverage == profile.coverage
    assert again.crosscheck().rows.equals(profile.crosscheck().rows)
    assert again.shared_parameters == profile.shared_parameters
    assert again.to_json() == profile.to_json()
    assert str(again) == str(profile)


def spelled(value: Any, seen: dict[int, int]) -> Any:
    """A record as plain data; a tensor that comes again is a reference, so that identity is compared, too."""
    if isinstance(value, TensorSpec):
        if id(value) in seen:
            return ("again", seen[id(value)])
        seen[id(value)] = len(seen)
    if isinstance(value, Graph):
        return spelled(value.__getstate__(), seen)
    if is_dataclass(value):
        names = [f.name for f in fields(value) if f.name != "meta"]  # which only a trace needs
        return [type(value).__name__, *((name, spelled(getattr(value, name), seen)) for name in names)]
    if isinstance(value, Mapping):
        return {key: spelled(item, seen) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value).__name__, [spelled(item, seen) for item in value]
    return repr(value)  # 1 is not True, and nan is nan


def test_every_record_reads_back(profile: costmodel.Profile) -> None:
    """What ran reads back field by field, and what was one tensor is one tensor."""
    again = parse(profile.to_json())
    assert again.graph.calls
    assert spelled(again.graph, {}) == spelled(profile.graph, {})


def test_a_profile_follows_its_schema(profile: costmodel.Profile) -> None:
    """The JSON Schema that is shipped describes what is written."""
    jsonschema.Draft202012Validator.check_schema(writer.schema())
    jsonschema.validate(json.loads(profile.to_json()), writer.schema())


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("version",), 2),
        (("totals", "macs"), 1.5),
        (("layers", 0, "params"), "many"),
        (("graph", "ops", 0, "op"), None),
    ],
)
def test_the_schema_can_fail(where: tuple[Any, ...], wrong: Any) -> None:
    """A version, a total, a row or a record that is not as described is refused."""
    document = json.loads(costmodel.profile(nn.Linear(2, 2), (1, 2)).to_json())
    part = document
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, writer.schema())


def test_an_unknown_version_is_a_clear_error(tmp_path: Path) -> None:
    """The error names the file, its version and the version that is read."""
    document = json.loads(costmodel.profile(nn.Linear(2, 2), (1, 2)).to_json())
    path = tmp_path / "later.json"
    path.write_text(json.dumps({**document, "version": 99}))
    with pytest.raises(ConvertError, match=r"later\.json has version 99.*reads version 1"):
        costmodel.read_json(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", "not a profile saved"),
        ('{"a": 1}', "not a profile saved"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_profile_is_a_clear_error(content: str | None, says: str, tmp_path: Path) -> None:
    """Neither broken JSON, nor other JSON, nor a missing file is read as a profile."""
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConvertError, match=says):
        costmodel.read_json(path)


def test_a_damaged_profile_is_a_clear_error() -> None:
    """A record that is missing is an error of conversion, not a KeyError."""
    document = json.loads(costmodel.profile(nn.Linear(2, 2), (1, 2)).to_json())
    del document["graph"]["ops"][0]["outputs"]
    with pytest.raises(ConvertError, match="damaged"):
        parse(json.dumps(document))


def test_a_layer_of_ones_own_reads_back() -> None:
    """The cost that a registered closed form gave is part of the file."""

    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x

    @costmodel.register_layer(Twice)
    def twice(module: nn.Module, shape: tuple[int, ...]) -> LayerCost:
        return costmodel.formulas.activation(name="relu", shape=shape)

    try:
        p = costmodel.profile(nn.Sequential(Twice()), (1, 4))
        again = parse(p.to_json())
    finally:
        del USER_LAYERS[Twice]
    assert p.crosscheck().checked == 1
    assert again.crosscheck().rows.equals(p.crosscheck().rows)


def test_every_suffix_is_written(tmp_path: Path) -> None:
    """A profile is saved in the form that the suffix names, and another suffix is refused with those there are."""
    p = costmodel.profile(nn.Linear(2, 2), (1, 2))
    for suffix, says in (
        (".md", "# What Linear costs"),
        (".csv", "name,type,kind"),
        (".tex", "\\toprule"),
        (".txt", "Linear"),
    ):
        assert says in p.save(tmp_path / f"p{suffix}").read_text("utf-8")
    with pytest.raises(ConvertError, match=r"\.docx.*\.html.*\.md"):
        p.save(tmp_path / "p.docx")


def test_csv_holds_exact_integers() -> None:
    """CSV is for machines: nothing is rounded, shapes are one field."""
    lines = costmodel.profile(nn.Linear(1000, 2000), (3, 1000)).to_csv().splitlines()
    assert len(lines) == 2
    head, row = (line.split(",") for line in lines)
    found = dict(zip(head, row, strict=True))
    assert (found["macs"], found["params"], found["output_shape"]) == ("6000000", "2002000", "3x2000")


def test_the_stride_of_what_was_upsampled_stays_exact() -> None:
    """A half is "1/2" in JSON, as in CSV; where there is no stride JSON has null, and CSV a dash."""
    p = costmodel.profile(UPSAMPLED, (1, 1, 9, 9))
    assert [row["stride"] for row in json.loads(p.to_json())["layers"]] == [[1, 1], ["1/2", "1/2"], [None, None]]
    rows = csv.DictReader(io.StringIO(p.to_csv()))
    assert [row["stride"] for row in rows] == ["1x1", "1/2x1/2", "-x-"]


def test_latex_escapes_what_a_model_says() -> None:
    """A name with LaTeX's special characters is printed, not executed."""
    model = nn.Sequential()
    model.add_module(r"a_b&\input{x}", nn.Linear(2, 2))
    text = costmodel.profile(model, (1, 2)).to_latex()
    assert r"a\_b\&\textbackslash{}input\{x\} & linear" in text
    assert len(re.findall(r"\\begin\{tabular\}\{llr+\}", text)) == 1


def test_a_long_latex_table_goes_on_over_pages() -> None:
    """More rows than a page holds are a longtable, whose head is repeated; fewer a tabular."""
    long, short = (costmodel.profile(nn.Sequential(*[nn.ReLU()] * n), (1, 2)).to_latex() for n in (60, 3))
    assert r"\begin{longtable}{ll" in long
    assert long.index(r"\midrule") < long.index(r"\endhead") < long.index("activation")
    assert r"\usepackage{booktabs,longtable}" in long
    assert "longtable" not in short
    assert short.count(r"\begin{tabular}") == short.count(r"\end{tabular}") == 1
