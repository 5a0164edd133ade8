"""One table of measures: what is in it, or is registered, stands in every table, total and view, and sums up."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import costmodel
from costmodel.cli import app
from costmodel.difference import Difference
from costmodel.errors import CostModelError, InputError
from costmodel.layers import USER_LAYERS
from costmodel.measures import MEASURES, PLACES, Measure, add, registered_measures
from costmodel.saved import parse
from costmodel.views import layer_table, text

ENERGY = Measure(
    name="energy_pj",
    title="energy of 45 nm",
    unit="pJ",
    # Han, Pool, Tran & Dally, arXiv:1506.02626, table 1: a 32-bit float multiply is 3.7 pJ, an add 0.9 pJ, and 32 bits
    # of DRAM 640 pJ.
    means="3.7 + 0.9 pJ per MAC and 640 pJ per 4 bytes of memory access",
    additive=True,
    of_layer=lambda layer: 4.6 * layer.work.macs + 160.0 * layer.traffic.bytes,
)
LINEAR, RELU = 4.6 * 64 + 160.0 * 4 * (16 + 32 + 8), 160.0 * 4 * (8 + 8)
"""By hand, for two rows of 8 features to 4: 64 MACs, x, w and y; then y read and written."""
WIDEST = Measure(
    name="widest", title="widest tensor", unit="elements", means="elements of the largest output", additive=False,
    of_layer=lambda layer: max((t.size for t in layer.outputs), default=0),
)  # fmt: skip


@pytest.fixture
def register() -> Iterator[Callable[[Measure], Measure]]:
    """Registers measures until the test ends."""
    names = []

    def registered(measure: Measure) -> Measure:
        costmodel.register_measure(measure)
        names.append(measure.name)
        return measure

    yield registered
    for name in names:
        costmodel.unregister_measure(name)


@pytest.fixture
def energy(register: Callable[[Measure], Measure]) -> Measure:
    """An energy per layer, a float."""
    return register(ENERGY)


def model(width: int = 4) -> nn.Module:
    """Features to others, without a bias, and their ReLU."""
    return nn.Sequential(nn.Linear(8, width, bias=False), nn.ReLU())


@pytest.fixture
def p() -> costmodel.Profile:
    """The model on two rows."""
    return costmodel.profile(model(), (2, 8))


# -- a registered measure --------------------------------------------------------------------------------------------


def test_it_is_in_the_tables_and_sums_up(energy: Measure, p: costmodel.Profile) -> None:
    """`layers`, `ops` and `modules` have it as their last column; the total and the model's row are the sum."""
    assert p.layers.columns[-1] == p.ops.columns[-1] == p.modules.columns[-1] == energy.name
    assert p.layers[energy.name].tolist() == [LINEAR, RELU]
    ops = p.ops
    assert ops[energy.name][ops["macs"] == 64].tolist() == [LINEAR]
    assert ops[energy.name].sum() == LINEAR + RELU
    assert p.modules.set_index("name")[energy.name].to_dict() == {"": LINEAR + RELU, "0": LINEAR, "1": RELU}
    assert p.total(energy.name) == LINEAR + RELU == 46374.4


def test_it_is_named_by_the_columns(energy: Measure) -> None:
    """The mapping of columns to their meanings has it, and forgets it."""
    from costmodel.profiling import LAYER_COLUMNS

    assert LAYER_COLUMNS[energy.name] == energy.means
    assert list(LAYER_COLUMNS)[-1] == energy.name


@pytest.mark.parametrize("form", ["to_html", "to_markdown", "to_latex", "__str__", "_repr_html_"])
def test_it_is_in_every_text_and_page(form: str, energy: Measure, p: costmodel.Profile) -> None:
    """A profile and a comparison show its title and unit in each format for people."""
    both = costmodel.compare({"a": p, "b": costmodel.profile(model(6), (2, 8))}, baseline="a")
    for result in (p, both):
        shown = " ".join(getattr(result, form)().split())
        assert "energy of 45 nm" in shown.lower(), result
        assert "pJ" in shown, result
        assert "46.4 k" in shown, result


def test_it_is_in_a_plain_text_with_its_digits(energy: Measure, p: costmodel.Profile) -> None:
    """The head has every digit of the total, the table a column of it."""
    shown = text.profile(p, 200)
    assert "46.4 k   46,374.4 pJ" in shown
    assert "energy of 45 nm" in shown
    assert "(pJ)" in shown


def test_the_command_line_sorts_and_lists_it(energy: Measure, tmp_path: Path) -> None:
    """`--sort` and `--columns` take its name."""
    path = tmp_path / "net.py"
    path.write_text("from torch import nn\ndef small(): return nn.Sequential(nn.Linear(8, 4, bias=False), nn.ReLU())")
    arguments = [
        "profile",
        f"{path}:small",
        "-i",
        "2,8",
        "--sort",
        energy.name,
        "--columns",
        f"kind,{energy.name},share",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "share of energy of 45 nm" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if " linear " in line or " activation " in line]
    assert [row[1] for row in rows] == ["linear", "activation"]
    assert rows[0][2:4] == ["36.1", "k"]


def test_it_is_in_csv_and_json_for_scripts(energy: Measure, p: costmodel.Profile) -> None:
    """Exactly, with its title and unit beside the figures in JSON; and the JSON reads back to the same."""
    rows = list(csv.DictReader(io.StringIO(p.to_csv())))
    assert [float(row[energy.name]) for row in rows] == [LINEAR, RELU]
    document = json.loads(p.to_json())
    about = {"title": energy.title, "unit": "pJ", "means": energy.means, "additive": True}
    assert document["measures"][energy.name] == about
    assert document["totals"][energy.name] == LINEAR + RELU
    assert [row[energy.name] for row in document["layers"]] == [LINEAR, RELU]
    assert parse(p.to_json()).layers.equals(p.layers)
    both = costmodel.compare({"a": p})
    assert float(next(csv.DictReader(io.StringIO(both.to_csv())))[energy.name]) == LINEAR + RELU
    assert json.loads(both.to_json())["measures"][energy.name] == about


def test_it_is_in_a_page_and_its_data(energy: Measure, p: costmodel.Profile) -> None:
    """The page's switch offers it, its summary says it, and its data has figures, title and unit."""
    page = p.to_html()
    assert 'name="quantity" value="energy_pj"' in page
    assert "46,374.4 pJ" in page
    data = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    measure = data["measures"][energy.name]
    assert (measure["title"], measure["unit"], measure["means"]) == (energy.title, "pJ", energy.means)
    (shown,) = data["models"]
    assert shown["layers"]["figures"][energy.name] == [LINEAR, RELU]
    assert sum(shown["tree"]["figures"][energy.name]) == shown["totals"][energy.name] == LINEAR + RELU


def test_it_is_compared(energy: Measure, p: costmodel.Profile) -> None:
    """A comparison has its total, and its ratio to the baseline, as the last columns of figures."""
    table = costmodel.compare({"a": p, "b": costmodel.profile(model(8), (2, 8))}, baseline="a").table
    wider = 4.6 * 128 + 160.0 * 4 * (16 + 64 + 16) + 160.0 * 4 * (16 + 16)
    assert table[energy.name].tolist() == [LINEAR + RELU, pytest.approx(wider)]
    assert table[f"{energy.name}_ratio"].tolist() == [1.0, pytest.approx(wider / (LINEAR + RELU))]
    assert [*table.columns][-3:] == [f"{energy.name}_ratio", "input", "mode"]
    assert energy.name in costmodel.compare({"a": p}).table.columns[-3:]


def test_a_difference_has_it(energy: Measure, p: costmodel.Profile) -> None:
    """Its total before and after, the layers that changed it, and whether it grew."""
    found = Difference(p, costmodel.profile(model(8), (2, 8)))
    was, now = found.totals[energy.name]
    assert was == LINEAR + RELU < now
    assert energy.name in found.grown(limit=0)  # type: ignore[arg-type]
    (first, *_) = found.layers
    assert first.difference(energy.name) == pytest.approx(4.6 * 64 + 160.0 * 4 * (32 + 8))
    shown = found.to_markdown()
    assert "energy of 45 nm (pJ)" in shown
    assert "46.4 k" in shown


def test_it_is_drawn(energy: Measure, p: costmodel.Profile, tmp_path: Path) -> None:
    """Figures of layers, of kinds and of ratios take it, and a Markdown report has its figure beside it."""
    assert p.plot_layers(energy.name).axes[0].get_ylabel() == "energy of 45 nm (pJ)"
    assert p.plot_kinds(energy.name).axes[0].get_xlabel() == "energy of 45 nm (pJ)"
    both = costmodel.compare({"a": p, "b": p})
    assert "energy of 45 nm" in both.plot_ratios(energy.name).axes[0].get_title(loc="left")
    both.save(tmp_path / "both.md")
    p.save(tmp_path / "p.md")
    assert (tmp_path / "both_figures" / "ratios-energy-pj.svg").exists()
    assert (tmp_path / "p_figures" / "layers-energy_pj.svg").exists()


def test_it_comes_and_goes(p: costmodel.Profile) -> None:
    """A profile that exists has a measure from when it is registered until it is taken away, and what it is then."""
    before = p.to_json()
    costmodel.register_measure(ENERGY)
    try:
        assert p.total(ENERGY.name) == LINEAR + RELU
        assert p.layers[ENERGY.name].sum() == LINEAR + RELU
        costmodel.unregister_measure(ENERGY.name)
        costmodel.register_measure(replace(ENERGY, of_layer=lambda layer: 1))
        assert p.total(ENERGY.name) == 2
        assert p.layers[ENERGY.name].tolist() == [1, 1]
    finally:
        costmodel.unregister_measure(ENERGY.name)
    assert p.to_json() == before
    with pytest.raises(
        CostModelError, match=r"no measure is called 'energy_pj'; there are params, macs, .*register_meas"
    ):
        p.total(ENERGY.name)


def test_a_process_that_does_not_know_it_reads_the_rest(energy: Measure, p: costmodel.Profile, tmp_path: Path) -> None:
    """Pickled or saved with a registered measure, a profile is read where that is not registered: without it."""
    p.layers, str(p)
    (tmp_path / "p.pickle").write_bytes(pickle.dumps(p))
    p.save(tmp_path / "p.json")
    code = (
        "import costmodel, pickle; a = pickle.load(open('p.pickle', 'rb')); b = costmodel.read_json('p.json');"
        "print(a.macs, b.macs, 'energy_pj' in a.layers, 'energy_pj' in b.layers)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["64", "64", "False", "False"]


# -- every view has every measure --------------------------------------------------------------------------------------


PLACES_OF_TITLE = {
    ("profile", "text"): 2,  # the head, and the table of layers
    ("profile", "markdown"): 4,  # totals, conventions, kinds, layers
    ("profile", "html"): 3,  # the switch, the summary, the data
    ("comparison", "text"): 2,  # a column, and its ratio
    ("comparison", "markdown"): 5,  # totals, ratios, conventions, and kinds of both models
    ("comparison", "html"): 5,  # the switch, the ranges, the totals, the data, and the summary of each model
    ("difference", "markdown"): 1,  # totals; no layer changed
}
"""How often a title stands in a document at least: once in each of its tables. Anywhere else once is enough."""


def test_no_view_has_a_list_of_its_own(register: Callable[[Measure], Measure]) -> None:
    """A measure that is registered is in each table of each format of each result that shows costs."""
    from costmodel import views

    p = costmodel.profile(model(), (2, 8))
    both = costmodel.compare({"a": p, "b": p}, baseline="a")
    results = {"profile": p, "comparison": both, "difference": Difference(p, p)}
    register(Measure("qqx", "qqx title", "qqx unit", "qqx meaning", True, lambda layer: 1))
    for view, result in results.items():
        for form, renderer in views.VIEWS[view].items():
            made = renderer()(result)
            if form == "figures":
                made = " ".join(alt for alt, _ in made.values())
            word = "qqx" if form == "csv" else "qqx title"
            assert made.lower().count(word) >= PLACES_OF_TITLE.get((view, form), 1), (view, form)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_has_a_total_that_sums_up(name: str) -> None:
    """A total is the sum over layers, and what the model's row of `modules` says, wherever a measure adds up."""
    p = costmodel.profile("mobilenet_v3_small")
    measure, total = MEASURES[name], p.total(name)
    assert isinstance(total, int)
    assert total == getattr(p, name, total)
    if measure.of_layer is not None and measure.additive:
        assert total == p.layers[name].sum() == p.modules[name][0]
    assert measure.places <= set(PLACES)


# -- measures that do not add up -------------------------------------------------------------------------------------


def test_one_that_does_not_add_up_has_no_total(register: Callable[[Measure], Measure], p: costmodel.Profile) -> None:
    """Layers have it, and modules that are one layer; no sum is made up, and every view still works."""
    register(WIDEST)
    assert p.layers["widest"].tolist() == [8, 8]
    assert p.total("widest") is None
    modules = p.modules.set_index("name")["widest"]
    assert math.isnan(modules[""])
    assert modules["0"] == 8
    both = costmodel.compare({"a": p, "b": p}, baseline="a")
    assert both.table["widest"].isna().all()
    for shown in (str(p), p.to_markdown(), p.to_latex(), p.to_csv(), p.to_html()):
        assert "widest" in shown.lower()
    assert "widest" in str(both)
    assert "widest" not in Difference(p, p).totals
    assert json.loads(p.to_json())["layers"][0]["widest"] == 8
    with pytest.raises(InputError, match="unknown quantity 'widest' to sort by"):
        text.profile_parts(p, sort="widest")


def test_one_of_a_whole_model_has_a_total_alone(register: Callable[[Measure], Measure], p: costmodel.Profile) -> None:
    """Without `of_layer` it has no column of layers, and its total where totals are."""
    register(Measure("depth_x", "layers in all", "layers", "how many", False, None, of_model=lambda p: len(p.layers)))
    assert p.total("depth_x") == 2
    assert "depth_x" not in p.layers
    assert costmodel.compare({"a": p}).table["depth_x"].tolist() == [2]
    assert "layers in all" in str(p)


# -- modules ---------------------------------------------------------------------------------------------------------


def test_modules_inside_a_layer_have_theirs(energy: Measure) -> None:
    """What runs inside a layer with a closed form of its own is counted for the module in it too, and once in all."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    costmodel.register_layer(Block)(lambda block, shape: costmodel.formulas.activation(name="relu", shape=shape))
    try:
        p = costmodel.profile(nn.Sequential(Block(), nn.Linear(4, 2, bias=False)), (2, 8))
        assert p.layers["name"].tolist() == ["0", "1"]
        modules = p.modules.set_index("name")
    finally:
        del USER_LAYERS[Block]
    assert modules["macs"].to_dict() == {"": 80, "0": 64, "0.inner": 64, "0.inner.0": 64, "0.inner.1": 0, "1": 16}
    assert (modules[energy.name]["0.inner.0"], modules[energy.name]["0.inner.1"]) == (LINEAR, RELU)
    after = 4.6 * 16 + 160.0 * 4 * (8 + 8 + 4)
    assert modules[energy.name]["1"] == pytest.approx(after)
    assert modules[energy.name]["0"] == modules[energy.name]["0.inner"] == pytest.approx(LINEAR + RELU)
    assert modules[energy.name][""] == pytest.approx(LINEAR + RELU + after)


class Moe(nn.Module):
    """Two experts, of which one is used; a frozen one that is not; a shared weight; a half-precision one."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8, bias=False), nn.Linear(8, 4)
        self.again = nn.Linear(8, 8, bias=False)
        self.again.weight = self.used.weight
        self.scale = nn.Parameter(torch.zeros(3, dtype=torch.float16))
        for q in self.unused.parameters():
            q.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.used(x)).relu()


def test_parameters_trainable_stored_and_active() -> None:
    """Shared ones count once, frozen ones are not trained, what no op reads is not active, bytes are as stored."""
    p = costmodel.profile(Moe(), costmodel.Input((2, 8)))
    assert (p.params, p.trainable_params, p.params_bytes, p.active_params) == (103, 67, 4 * 100 + 2 * 3, 64)
    assert p.layers["active_params"].tolist() == [64, 0, 0]
    modules = p.modules.set_index("name")
    assert modules["trainable_params"].to_dict() == {"": 67, "used": 64, "unused": 0, "again": 64}
    assert modules["active_params"].to_dict() == {"": 64, "used": 64, "unused": 0, "again": 64}
    assert modules["params_bytes"]["unused"] == 4 * 36


def test_the_head_says_what_is_stored_trained_and_read() -> None:
    """A text and a page say the bytes of the weights, and how many are trainable or active where not all are."""
    p = costmodel.profile(Moe(), costmodel.Input((2, 8)))
    assert "103, 406 B as stored, 67 trainable, 64 active" in text.profile(p, 120)
    assert "406 B as stored, 67 of them trainable, 64 active in this run" in p.to_html()
    whole = costmodel.profile(model(), (2, 8))
    assert "32, 128 B as stored\n" in text.profile(whole, 120)


def test_a_read_of_a_view_is_a_read() -> None:
    """An op that reads a parameter through views of it makes it active; the views by themselves do not."""

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.only_viewed = nn.Parameter(torch.zeros(4, 4)), nn.Parameter(torch.zeros(5))

        def forward(self, x: Tensor) -> Tensor:
            self.only_viewed.view(5, 1)
            return x @ self.read[:2].t()

    assert costmodel.profile(Views(), (3, 4)).active_params == 16


def test_frozen_parameters_read_back(tmp_path: Path) -> None:
    """Which parameters are frozen is in the file; a file without that, of the first version, reads as all trainable."""
    p = costmodel.profile(Moe(), costmodel.Input((2, 8)))
    path = p.save(tmp_path / "p.json")
    assert costmodel.read_json(path).trainable_params == 67
    document = json.loads(path.read_text())
    del document["graph"]["frozen"], document["measures"]
    assert parse(json.dumps(document)).trainable_params == 103


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "says"),
    [
        (replace(ENERGY, name="macs"), "a measure is called 'macs' already: choose another name$"),
        (replace(ENERGY, name="kind"), "cannot be called 'kind': tables have another column of that name"),
        (replace(ENERGY, name="macs_ratio"), "cannot be called 'macs_ratio'"),
        (replace(ENERGY, name="two words"), "its name must be an identifier, such as 'energy'"),
        (replace(ENERGY, name="class"), "its name must be an identifier"),
        (replace(ENERGY, of_layer=None), "says nothing: give it of_layer, or of_model"),
        (replace(ENERGY, places=frozenset({"nowhere"})), r"has places \['nowhere'\]; there are layers, summary"),
    ],
)
def test_what_cannot_be_registered_is_a_clear_error(measure: Measure, says: str) -> None:
    """A name that is taken, or is no name of a column, and a measure that measures nothing; nothing is registered."""
    with pytest.raises(CostModelError, match=says):
        costmodel.register_measure(measure)
    assert registered_measures() == []


def test_a_registered_name_is_taken_until_it_is_removed(energy: Measure) -> None:
    """The error names the remedy; what is built in stays, and what is not there cannot go."""
    with pytest.raises(
        CostModelError, match=r"'energy_pj' already: .* or remove that with costmodel\.unregister_measure"
    ):
        costmodel.register_measure(energy)
    with pytest.raises(CostModelError, match="'macs' is built in, and stays"):
        costmodel.unregister_measure("macs")
    with pytest.raises(CostModelError, match="no measure is called 'nothing'"):
        costmodel.unregister_measure("nothing")


def test_every_other_column_is_a_name_that_is_refused() -> None:
    """Whatever the tables call a column that is no measure, no measure may be called."""
    from costmodel.measures import _OTHER_COLUMNS
    from costmodel.tables import LAYER_COLUMNS, MODULE_COLUMNS, OP_COLUMNS

    columns = {*LAYER_COLUMNS, *MODULE_COLUMNS, *OP_COLUMNS, *layer_table.column_names(), "model", "is_exact"}
    assert columns - set(MEASURES) <= _OTHER_COLUMNS


@pytest.mark.parametrize(
    ("of_layer", "says"),
    [
        (lambda layer: layer.nonsense, "AttributeError: .*nonsense"),
        (lambda layer: None, "it returned None, not a finite number"),
        (lambda layer: math.nan, "it returned nan"),
        (lambda layer: torch.tensor([1, 2]), "it returned tensor"),
        (lambda layer: 10**400, r"it returned 10+\.\.\.0+, not between 1e-100 and 1e100"),
    ],
)
def test_an_error_in_a_measure_names_it_and_the_layer(
    of_layer: Callable[..., float], says: str, register: Callable[[Measure], Measure], p: costmodel.Profile
) -> None:
    """Not a KeyError from inside a table, but which measure failed on which layer, and how."""
    register(replace(ENERGY, of_layer=of_layer))
    with pytest.raises(CostModelError, match=rf"the measure 'energy_pj' failed on '0' \(Linear\): {says}"):
        p.layers  # noqa: B018


def test_sums_of_floats_are_the_same_in_any_order() -> None:
    """Sums of ints are exact, and those of floats are rounded once."""
    assert add([2**64, 1, -1]) == 2**64
    assert add([1e16, 1.0, -1e16]) == 1.0
    assert add([]) == 0
    assert type(add([1, 2])) is int
