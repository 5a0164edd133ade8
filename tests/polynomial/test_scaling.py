"""A scaling's formulas are a profile's figures at every size that they are said to hold for."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import costmodel
from costmodel import CostModelError, Input, InputError, Scaling
from costmodel.errors import NotPolynomialError
from costmodel.models import closed_form


class Tokens(nn.Module):
    """A language model's block: an embedding, attention over all tokens, and the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.out = nn.Linear(16, 50)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, S) to logits (B, S, 50)."""
        out: Tensor = self.out(self.block(self.embed(ids)))
        return out


class Loop(nn.Module):
    """A cell that runs once for each step of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Steps (S, B, 4) to the last state (B, 8)."""
        state = x.new_zeros(x.shape[1], 8)
        for step in x:
            state = self.cell(step, state)
        return state


class Patches(nn.Module):
    """A vision transformer of one block, at any resolution that its patches divide."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 16, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to tokens."""
        if x.shape[-1] % 16 or x.shape[-2] % 16:
            raise ValueError("patches of 16 do not divide the image")
        out: Tensor = self.block(self.patch(x).flatten(2).transpose(1, 2))
        return out


MODELS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "conv": (lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1), ("B", 3, "H", "W")),
    "mobilenet_v2": (lambda: costmodel.models.mobilenet_v2(width=0.25), ("B", 3, "H", "H")),
    "shufflenet_v2": (costmodel.models.shufflenet_v2, ("B", 3, "H", "H")),
    "adaptive pooling": (lambda: nn.Sequential(nn.MaxPool2d(4), nn.AdaptiveAvgPool2d(7)), ("B", 3, "H", "H")),
    "tokens": (Tokens, Input(("B", "S"), "int64")),
    "patches": (Patches, ("B", 3, "H", "W")),
    "lstm": (lambda: nn.LSTM(4, 8, 2), ("S", "B", 4)),
    "loop": (Loop, ("S", "B", 4)),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU()), ("B", 1, "D", "D", "D")),
}


@cache
def scaled(name: str, training: bool = False) -> tuple[nn.Module, Any, Scaling]:
    """A model with its inputs and its scaling."""
    make, inputs = MODELS[name]
    model = make()
    return model, inputs, costmodel.scaling(model, inputs, training=training)


def given_at(inputs: Any, sizes: dict[str, int]) -> Any:
    """The inputs with numbers, written anew."""
    if isinstance(inputs, Input):
        return Input([sizes.get(n, n) for n in inputs.shape], inputs.dtype)
    return tuple(sizes.get(n, n) for n in inputs)


def drawn(s: Scaling, most: int, data: st.DataObject) -> dict[str, int]:
    """A size for each name, on its lattice and within its range."""
    steps = {a: st.integers(a.least // a.lattice, max(a.least, min(a.greatest, most)) // a.lattice) for a in s.axes}
    return {axis.name: axis.lattice * data.draw(step) for axis, step in steps.items()}


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_formulas_are_the_profiles_figures(name: str, data: st.DataObject) -> None:
    """At sizes drawn on the lattice and within the range every total, and the peak, is that of a profile."""
    model, inputs, s = scaled(name)
    sizes = drawn(s, 700, data)
    if name == "loop":
        sizes["S"] = min(sizes["S"], 40)
    p = costmodel.profile(model, given_at(inputs, sizes))
    found = s.at(**sizes)
    assert {quantity: p.total(quantity) for quantity in s.quantities} == found
    for quantity in ("macs", "flops", "memory_access", "peak_memory"):
        assert sympy.sympify(getattr(s, quantity)).subs(sizes) == found[quantity]


@pytest.mark.parametrize("name", ["conv", "mobilenet_v2", "tokens", "lstm"])
def test_layers_add_up(name: str) -> None:
    """Formulas of layers add up to the model's, and are each layer's figures in a profile."""
    model, inputs, s = scaled(name)
    assert sympy.expand(sum(s.layers["macs"]) - s.regions[0].total("macs", s.symbols)) == 0
    sizes = {axis.name: axis.least + 2 * axis.lattice for axis in s.regions[0].axes}
    layers = costmodel.profile(model, given_at(inputs, sizes)).layers
    macs = dict(zip(layers["name"], layers["macs"], strict=True))
    for _, row in s.layers.iterrows():
        assert sympy.sympify(row["macs"]).subs(sizes) == macs[row["name"]]


@pytest.mark.parametrize("name", ["mobilenet_v2", "tokens", "lstm"])
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_training_steps(name: str, data: st.DataObject) -> None:
    """MACs, FLOPs, what autograd keeps and the peak of a step are those of a step traced at that size."""
    model, inputs, s = scaled(name, training=True)
    sizes = drawn(s, 200, data)
    step = costmodel.training_step(model, given_at(inputs, sizes))
    found = s.at(**sizes)
    for quantity in ("macs", "flops", "memory_access", "memory_access_bytes", "params", "saved_bytes", "peak_memory"):
        assert found[quantity] == getattr(step, quantity), (quantity, sizes)


@pytest.mark.parametrize(
    ("name", "lattice"),
    [("mobilenet_v2", 32), ("resnet18", 32), ("alexnet", 192), ("vgg11", 224), ("shufflenet_v1", 32)],
)
def test_equal_to_the_closed_form_in_symbols(name: str, lattice: int) -> None:
    """What traces determine is what the paper's table says, in a symbol: the difference is 0 for every size."""
    s = costmodel.scaling(name, ("B", 3, "H", "H"))
    k = sympy.Symbol("k", integer=True, positive=True)
    derived = closed_form(name, resolution=lattice * k, batch=s.symbols["B"])
    assert s.lattice == {"B": 1, "H": lattice}
    for quantity in ("params", "macs", "flops"):
        traced = sympy.sympify(getattr(s, quantity)).subs(s.symbols["H"], lattice * k)
        assert sympy.expand(traced - getattr(derived, quantity)) == 0, quantity


def test_a_size_that_a_model_fixes() -> None:
    """A model that takes one resolution alone has a range of that one."""
    s = costmodel.scaling(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), ("B", 3, "H", "H"))
    assert (s.lattice, s.range["H"]) == ({"B": 1, "H": 32}, (32, 32))
    assert s.macs == 4 * 3 * 32 * 32 * s.symbols["B"]
    assert "H: 32 alone, of which the model takes no multiple" in str(s)


def test_a_size_to_which_strides_round() -> None:
    """Of 32 to 62 a stride and a pooling make one position: there costs are no polynomial, and no other size fits."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AvgPool2d(16), nn.Flatten(), nn.Linear(4, 2))
    s = costmodel.scaling(model, ("B", 3, "H", "H"))
    assert s.range["H"] == (32, 32)
    assert s.macs == costmodel.profile(model, (1, 3, 32, 32)).macs * s.symbols["B"]


class Rounds(nn.Module):
    """Work that grows with the number of bits of a size."""

    def forward(self, x: Tensor) -> Tensor:
        """Adds once for each bit."""
        for _ in range(x.shape[-1].bit_length()):
            x = x + x
        return x


def test_a_cost_that_is_no_polynomial_is_refused() -> None:
    """The error has two sizes, what a trace has there, and what a polynomial would have."""
    with pytest.raises(
        NotPolynomialError, match=r"no polynomial of L.*at L=\d+ it has flops [\d,]+, where.*; at L=\d+"
    ):
        costmodel.scaling(Rounds(), (2, "L"))


class Positions(nn.Module):
    """Each position has its own number at the size of training, and the same one at others."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 4, 16, 16)
        self.positions = nn.Parameter(torch.zeros(1, 4, 14, 14))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to patches (B, 4, H/16, W/16)."""
        y: Tensor = self.patch(x)
        positions: Tensor = self.positions
        if y.shape[-2:] != positions.shape[-2:]:
            positions = positions.mean((-2, -1), keepdim=True)
        return y + positions


@pytest.mark.parametrize("names", [("B", 3, "H", "H"), ("B", 3, "H", "W")])
def test_the_size_of_training_is_special(names: tuple[Any, ...]) -> None:
    """The polynomials of other sizes are not those of the first one, which has its own."""
    model = Positions()
    s = costmodel.scaling(model, names)
    for b, h, w in ((1, 224, 224), (5, 224, 224), (2, 240, 240), (1, 272, 272), (3, 448, 448)):
        found = s.at(B=b, H=h, **({"W": w} if "W" in names else {}))
        p = costmodel.profile(model, (b, 3, h, w))
        assert found == {quantity: p.total(quantity) for quantity in s.quantities}, (b, h, w)
    at_training = {s.symbols[name]: 224 for name in s.names if name != "B"} | {s.symbols["B"]: 4}
    assert s.memory_access.subs(at_training) == costmodel.profile(model, (4, 3, 224, 224)).memory_access
    pieces = s.pieces("memory_access", B=1, **({"W": 224} if "W" in names else {}))
    assert [224, 224] in pieces[["least", "greatest"]].to_numpy().tolist()


@torch.library.custom_op("scaling_tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """An op that has no rule."""
    return x * 2


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Sorted(nn.Module):
    """Rows are sorted before a product, as a mixture of experts sorts its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (N, 8) to (N, 4)."""
        y: Tensor = self.out(x[x[:, 0].argsort()])
        return y


def test_a_total_that_is_no_polynomial_is_refused_alone() -> None:
    """n log n comparisons are none, and who asks for FLOPs is shown it; MACs are 32 for each row."""
    model = Sorted()
    s = costmodel.scaling(model, ("N", 8))
    assert s.macs == 32 * s.symbols["N"]
    assert "flops" in s.refused
    assert "flops" not in s.at(N=7)
    assert s.at(N=7)["peak_memory"] == costmodel.profile(model, (7, 8)).peak_memory
    asks: tuple[Callable[[], Any], ...] = (
        lambda: s.flops,
        lambda: s.pieces("flops"),
        lambda: s.largest("N", flops=100),
    )
    for ask in asks:
        with pytest.raises(NotPolynomialError, match=r"no polynomial of N.*at N=\d+ it has flops [\d,]+, where"):
            ask()
    assert "No formula has FLOPs: the model's cost is no polynomial of N" in " ".join(str(s).split())
    assert "flops" not in s.layers
    assert s.largest("N", macs=330) == 10


def test_a_real_run_is_said() -> None:
    """A model that reads a value may cost something else with another one."""

    def read(x: Tensor) -> Tensor:
        return x + 1 if x.sum().item() < 1e9 else x

    s = costmodel.scaling(read, ("B", 4))
    assert s.execution == "real"
    assert s.range["B"][1] == 8
    assert "ran for real: with other values in its inputs it may cost something else" in " ".join(str(s).split())


def test_lower_bounds_are_said() -> None:
    """What an op without a rule computes is in no formula: the result and its text say so, and name it."""
    s = costmodel.scaling(lambda x: twice(x) + 1, ("B", "H"))
    assert (s.is_exact, s.lower_bounds) == (False, ("no rule for scaling_tests.twice.default",))
    assert "Totals are lower bounds (≥): no rule for scaling_tests.twice.default." in " ".join(str(s).split())
    assert "at least" in str(s)
    assert scaled("conv")[2].is_exact


def test_one_op_of_two_peaks() -> None:
    """The temporaries of an LSTM's op are its states or its gates: which are more, the ratio of both sizes decides.

    At its first sizes, 16 steps of 2 samples, it is the outputs alone, and at 2 steps of 2 samples both are as many.
    """
    model, _, s = scaled("lstm")
    least, greatest = s.range["S"][0], s.range["B"][1]
    for steps in (least, least + 1, 100):
        for batch in (1, 3, 3000, greatest):
            found = costmodel.profile(model, (steps, batch, 4)).peak_memory
            assert s.at(S=steps, B=batch)["peak_memory"] == found, (steps, batch)


def test_a_remainder_shows() -> None:
    """A pooling to 7 is a polynomial of multiples of 7 alone: with fewer points its remainders would pass unseen."""
    s = scaled("adaptive pooling")[2]
    assert s.lattice["H"] == 28


class TestLargest:
    """The greatest size within bounds, against a search by profiles."""

    def test_batch(self) -> None:
        """At the result the peak fits, at the next it does not."""
        model, _, s = scaled("mobilenet_v2")
        n = s.largest("B", peak_memory="1GB", H=224)
        peaks = [costmodel.profile(model, (b, 3, 224, 224)).peak_memory for b in (n, n + 1)]
        assert peaks[0] <= 10**9 < peaks[1]

    def test_resolution(self) -> None:
        """On the lattice, by MACs."""
        model, _, s = scaled("mobilenet_v2")
        n = s.largest("H", macs=4e8, B=1)
        macs = [costmodel.profile(model, (1, 3, h, h)).macs for h in (n, n + 32)]
        assert n % 32 == 0
        assert macs[0] <= 4e8 < macs[1]

    def test_time(self) -> None:
        """By the roofline of a device."""
        model, _, s = scaled("mobilenet_v2")
        n = s.largest("B", seconds=0.001, device="a100", H=224)
        times = [costmodel.profile(model, (b, 3, 224, 224)).roofline("a100").time for b in (n, n + 1)]
        assert times[0] <= 0.001 < times[1]

    def test_training_step(self) -> None:
        """The same batch as the step's own search finds."""
        model, _, s = scaled("mobilenet_v2", training=True)
        step = costmodel.training_step(model, (2, 3, 224, 224))
        assert s.largest("B", peak_memory="4GB", H=224) == step.largest_batch("4GB")

    def test_nothing_fits(self) -> None:
        """Zero, as of ``TrainingStep.largest_batch``."""
        assert scaled("mobilenet_v2")[2].largest("B", peak_memory=1000, H=224) == 0

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"name": "X", "macs": 1}, "no size is called 'X'"),
            ({"name": "B", "macs": 1}, "give a size for H"),
            ({"name": "B", "H": 224}, "give a bound"),
            ({"name": "B", "H": 224, "speed": 3}, "nothing is called 'speed'"),
            ({"name": "B", "H": 224, "B": 3, "macs": 1}, "B is looked for"),
            ({"name": "B", "H": 224, "seconds": 1.0}, "both seconds=... and device=..."),
            ({"name": "B", "H": 224, "macs": "many"}, "'many' is no bound"),
            ({"name": "B", "H": 224, "macs": 10**30}, "every B up to 1048576 keeps the bound"),
            ({"name": "B", "H": 224, "params": 10**9}, "a greater one: params do not depend on B"),
            ({"name": "B", "H": 224, "seconds": -1.0, "device": "a100"}, "seconds=-1.0 is no time"),
            ({"name": "B", "H": 225, "macs": 1e9}, "H=225 is off its lattice"),
        ],
    )
    def test_errors(self, arguments: dict[str, Any], says: str) -> None:
        """Each says what to give."""
        with pytest.raises(InputError, match=says):
            scaled("mobilenet_v2")[2].largest(**arguments)


def test_pieces_are_the_maximum() -> None:
    """Pieces of a step's peak follow each other without a gap, and each is the peak at both its ends and between."""
    s = scaled("mobilenet_v2", training=True)[2]
    found = s.pieces(H=64)
    assert len(found) > 1
    assert list(found["least"][1:]) == [n + 1 for n in found["greatest"][:-1]]
    assert (found["least"].iloc[0], found["greatest"].iloc[-1]) == s.range["B"]
    for _, piece in found.iterrows():
        for b in {piece["least"], piece["greatest"], (piece["least"] + piece["greatest"]) // 2}:
            assert piece["expression"].subs(s.symbols["B"], b) == s.at(B=b, H=64)["peak_memory"]


def test_a_figure_has_traces_on_its_line() -> None:
    """Its points are profiles' figures, from the least to the greatest size."""
    model, _, s = scaled("mobilenet_v2")
    _, points = s.plot("peak_memory", B=2).axes[0].lines
    sizes, peaks = (np.asarray(data).tolist() for data in (points.get_xdata(), points.get_ydata()))
    assert (sizes[0], sizes[-1]) == s.range["H"]
    assert peaks == [costmodel.profile(model, (2, 3, n, n)).peak_memory for n in sizes]
    with pytest.raises(InputError, match="leave out one of B, H"):
        s.plot("macs", B=2, H=224)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"B": 2}, "give a size for H"),
        ({"B": 2, "H": 100}, "H=100 is off its lattice: the formulas hold for multiples of 32"),
        ({"B": 0, "H": 32}, "B=0 is out of its range, 1 to 1048576"),
        ({"B": 2.0, "H": 32}, "B=2.0 is no size"),
        ({"B": 2, "H": 32, "X": 1}, "no size is called X; there are B, H"),
    ],
)
def test_sizes_for_which_no_formula_holds(sizes: dict[str, Any], says: str) -> None:
    """Each error names the size."""
    with pytest.raises(InputError, match=says):
        scaled("mobilenet_v2")[2].at(**sizes)


@pytest.mark.parametrize(
    ("inputs", "options", "says"),
    [
        ((1, 3, 32, 32), {}, "no size has a name"),
        (("B", 4, "H", "H"), {}, "no sizes were found that the model takes"),
        (("B", 3, "H", "H"), {"start": {"X": 2}}, "start has a size for 'X'; the inputs name B, H"),
        (("B", 3, "H", "H"), {"start": {"H": 0}}, "start: H=0 is no size"),
    ],
)
def test_inputs_that_cannot_be_scaled(inputs: Any, options: dict[str, Any], says: str) -> None:
    """Each error says what to write."""
    with pytest.raises(CostModelError, match=says):
        costmodel.scaling(nn.Conv2d(3, 4, 3), inputs, **options)


def test_names_are_for_scaling_alone() -> None:
    """A profile of an input that names a size says which function takes names."""
    with pytest.raises(InputError, match=r"names a size.*costmodel\.scaling"):
        costmodel.profile(nn.Linear(2, 2), Input(("B", 2)))


def test_pickled_without_the_model() -> None:
    """Formulas survive; what needs the model says so."""
    _, _, s = scaled("conv")
    again = pickle.loads(pickle.dumps(s))
    assert (again.macs, again.at(B=3, H=64, W=32)) == (s.macs, s.at(B=3, H=64, W=32))
    with pytest.raises(InputError, match="without its model"):
        again.traced(B=3, H=64, W=32)


def test_the_model_is_as_before() -> None:
    """Many traces later, mode, gradients and random state are the same."""
    model = Tokens().train()
    state = torch.get_rng_state()
    costmodel.scaling(model, Input(("B", "S"), "int64"), training=True)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())
