"""The arithmetic of a measurement, with a clock that the layers move themselves, and rows that match the profile's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.timing import Measurement
from costmodel.timing.result import LAYER_COLUMNS, Times
from tests.timing.ticking import CLOCK, DEVICE, Between, Tick

WARM_UP = 3
BOUND = 2 * 5 * 3 * 2 / 1000
"""Of one ``Tick``: 30 MACs on five rows, at 1,000 FLOP/s; 124 bytes take less."""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A device with round figures."""
    path = tmp_path / "own.toml"
    path.write_text(DEVICE, encoding="utf-8")
    return str(path)


def ticked(model: nn.Module, own: str, repeats: int = 2) -> Measurement:
    """A measurement of a model of ``Tick``, by its clock."""
    return costmodel.measure(model, (5, 3), peaks=own, repeats=repeats, clock=CLOCK)


def test_runs_without_hooks_and_with_them_take_turns(own: str) -> None:
    """After the warm-up the first, third and fifth forward are the whole's, the others the layers'."""
    m = ticked(Tick(*[64.0] * WARM_UP, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0), own, repeats=3)
    assert m.total.runs == (1.0, 4.0, 16.0)
    assert m.hooked == (2.0, 8.0, 32.0)
    (row,) = m.rows
    assert row.times is not None
    assert row.times.runs == (2.0, 8.0, 32.0)
    assert (m.setting.warm_up, m.setting.hook, m.setting.timer) == (WARM_UP, 0.0, "own clock")


def test_a_bound_is_beside_each_time_with_the_share_that_is_reached(own: str) -> None:
    """share = bound / median, of each layer and of the whole, whose bound is the sum."""
    m = ticked(Between([Tick(0.25), Tick(1.0)], 0.5), own)
    assert [row.bound for row in m.rows] == [BOUND, BOUND]
    assert m.layers["share"].tolist() == [BOUND / 0.25, BOUND / 1.0]
    assert (m.total.bound, m.total.median, m.total.share) == (2 * BOUND, 2.25, 2 * BOUND / 2.25)
    assert (m.peaks.name, m.peaks.title, m.peaks.why) == ("own", "A device of the tests", "as named")
    assert m.peaks.figures == (("float32", 1000.0, "made up"), ("bandwidth", 1e6, "made up"))


def test_what_lies_outside_of_the_layers_is_the_rest(own: str) -> None:
    """The seconds of a forward with hooks, less those of its layers; and by how much hooks make a forward longer."""
    m = ticked(Between([Tick(0.25), Tick(1.0)], 0.5), own)
    assert m.outside is not None
    assert m.outside.runs == (1.0, 1.0)
    assert m.outside.bound == 0
    assert m.slowdown == 0
    slower = ticked(Tick(*[9.0] * WARM_UP, 1.0, 3.0), own, repeats=1)
    assert slower.slowdown == 2.0


def test_a_layer_that_is_called_twice_has_two_rows(own: str) -> None:
    """Each with its own times, in order of the calls."""
    twice = Tick(0.25, 2.0)
    m = ticked(Between([twice, Tick(1.0), twice], 0.0), own)
    assert m.layers["median"].tolist() == [0.25, 1.0, 2.0]
    assert m.layers["name"].tolist() == ["layers.0", "layers.1", "layers.0"]


def test_an_op_outside_of_modules_has_a_bound_and_no_time(own: str) -> None:
    """Its row is there; what is outside of the layers has its bound."""

    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Tick(1.0)

        def forward(self, x: Tensor) -> Tensor:
            CLOCK.now += 4.0
            found: Tensor = self.inner(x) * 2
            return found

    m = ticked(Doubled(), own)
    first, op = m.rows
    assert (first.name, op.name, op.times) == ("inner", "mul", None)
    assert op.bound == 10 / 1000  # ten products
    assert m.outside == Times((4.0, 4.0), op.bound)
    assert m.layers["median"].isna().tolist() == [False, True]


def test_quartiles_are_those_of_the_field() -> None:
    """Linear interpolation between order statistics, as NumPy's percentiles; one run is all three."""
    assert Times((1.0, 2.0, 3.0, 10.0), 1.0).quartiles == (1.75, 2.5, 4.75)
    assert Times((7.0,), 1.0).quartiles == (7.0, 7.0, 7.0)
    assert Times((1.0, 2.0, 3.0, 10.0), 1.0).spread == 3.0
    assert Times((3.0, 1.0), 1.0).least == 1.0
    assert Times((1.0,), 0.0).share is None


class Twice(nn.Module):
    """A layer that is used twice, one in a list that no module holds, attention with a layer inside, and an op."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.hidden = [nn.Linear(4, 4)]
        self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(torch.relu(self.shared(x)))
        x, _ = self.attention(x, x, x)
        x = self.hidden[0](x + 1)
        found: Tensor = self.block(x)
        return found

    def double(self, x: Tensor) -> Tensor:
        """A method that calls no module."""
        return x * 2

    def half(self, x: Tensor) -> Tensor:
        """A method that is no forward."""
        found: Tensor = self.shared(x) + x
        return found


class Anew(nn.Module):
    """A forward that makes one of its modules, as transformers' Mamba does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = nn.SiLU()(self.linear(x))
        return found


class Helped(nn.Module):
    """A forward during which another thread calls a module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        helper = threading.Thread(target=nn.Tanh(), args=(torch.ones(1),))
        helper.start()
        helper.join()
        found: Tensor = self.linear(x)
        return found


class Branch(nn.Module):
    """A model whose path depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 2), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.up(x) if x.sum() > 0 else self.down(x)
        return found


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (1, 3, 8, 8)),
    "one layer": (lambda: nn.Linear(3, 2), (4, 3)),
    "calls and attention": (Twice, (1, 5, 4)),
    "a method": (lambda: Twice().half, (1, 5, 4)),
    "a method without layers": (lambda: Twice().double, (1, 5, 4)),
    "of torch.fx": (lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU())), (4, 3)),
    "another thread": (Helped, (4, 3)),
    "the method forward": (lambda: Twice().forward, (1, 5, 4)),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3), nn.ReLU()), (2, 5)),
    "integers": (lambda: nn.Sequential(nn.Embedding(7, 3), nn.LSTM(3, 4)), costmodel.Input((5, 2), torch.int64)),
    "weight norm": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))), (4, 3)),
    "scripted": (lambda: torch.jit.script(nn.Sequential(nn.Linear(3, 2), nn.ReLU())), (4, 3)),
    "traced": (lambda: torch.jit.trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.ones(4, 3)), (4, 3)),
    "values": (Branch, (4, 3)),
    "no parameters": (lambda: nn.ReLU(), (4, 3)),
    "a module of the moment": (Anew, (4, 3)),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # of torch 2.15
@pytest.mark.parametrize("name", MODELS)
def test_rows_are_those_of_the_profile(name: str, own: str) -> None:
    """In number, order, name, type, kind and counts; each call of a module has a time, and no op outside of any."""
    make, inputs = MODELS[name]
    model = make()
    m = costmodel.measure(model, inputs, peaks=own, repeats=2)
    expected = costmodel.profile(model, inputs).layers
    kept = ["name", "type", "kind", "macs", "flops", "memory_access_bytes"]
    assert list(m.layers.columns) == list(LAYER_COLUMNS)
    assert m.layers[kept].to_dict("list") == expected[kept].to_dict("list")
    assert m.unmatched == ""
    # Those of torch.jit take none, the one that a forward makes has none yet, and around a method there is none.
    of_jit = ("RecursiveScriptModule", "TopLevelTracedModule")
    has_no_hook = [row.type.startswith("aten.") or row.type in ("SiLU", "Twice", *of_jit) for row in m.rows]
    assert [row.times is None for row in m.rows] == has_no_hook
    assert all(len(row.times.runs) == 2 for row in m.rows if row.times is not None)
    assert len(m.total.runs) == 2


def test_another_path_than_the_profiles_is_said(own: str) -> None:
    """The whole forward has times, layers have none, and it is said which call differs."""

    class Moody(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            Moody.calls += 1
            found: Tensor = self.first(x) if Moody.calls == 1 else self.second(x)
            return found

    m = costmodel.measure(Moody(), (4, 3), peaks=own, repeats=2)
    assert m.unmatched == "its call 2 was of a ReLU, and of a Linear (first) in the profile"
    assert len(m.total.runs) == 2
    assert all(row.times is None for row in m.rows)
    assert (m.hooked, m.outside, m.slowdown) == ((), None, None)
    assert "no layer has a time" in str(m)


def test_layers_that_are_left_out_later_are_said(own: str) -> None:
    """A forward that calls fewer layers in a later run has no times of layers, and says so."""

    class Tired(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            Tired.calls += 1
            return self.linear(x) if Tired.calls <= 1 + WARM_UP + 2 else x

    m = costmodel.measure(Tired(), (4, 3), peaks=own, repeats=3)
    assert m.unmatched == "one run called other layers than the first"
    assert (len(m.total.runs), m.hooked, m.rows[0].times) == (3, (), None)
