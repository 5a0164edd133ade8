"""``Profile.counted_as``: what is in a recount, what it is read off, and what it says where that is gone."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import costmodel
from costmodel.conventions.tool import ToolFailsError
from costmodel.origin import KEPT_ELEMENTS
from tests.conventions import page
from tests.conventions.live import LIVE


def net() -> nn.Sequential:
    """A convolution of 2,160 MACs, a batch norm of 80 elements, a linear layer of 160 MACs."""
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(80, 2))


MACS = 5 * 3 * 9 * 16 + 160


def test_the_differences_lead_to_the_total() -> None:
    """fvcore adds 2 for each of a batch norm's 80 elements; the rows say where, for which op, why and how much."""
    model = net()
    p = costmodel.profile(model, (1, 3, 4, 4))
    found = p.counted_as("fvcore")
    assert (p.macs, found.total, found.unit, found.params) == (MACS, MACS + 160, "MACs", p.params)
    assert list(found.difference.columns) == ["name", "op", "why", "amount"]
    [row] = found.difference.to_dict("records")
    assert (row["name"], row["op"], row["amount"]) == ("1", "batch_norm", 160)
    assert "2 an element" in row["why"]


def test_a_unit_is_a_difference_too() -> None:
    """Two FLOPs a multiply-accumulate is a row of its own, as large as the MACs."""
    model = net()
    [row] = costmodel.profile(model, (1, 3, 4, 4)).counted_as("FlopCounterMode").difference.to_dict("records")
    assert row == {"name": "", "op": "", "why": "2 FLOPs a multiply-accumulate", "amount": MACS}


def test_what_is_missed_is_a_difference() -> None:
    """fvcore has no handle for an LSTM: all its MACs are taken away, with the reason."""
    model = nn.LSTM(8, 16)
    p = costmodel.profile(model, (5, 2, 8))
    found = p.counted_as("fvcore")
    assert (found.total, found.difference["amount"].tolist()) == (0, [-p.macs])
    assert "lstm has no handle" in found.difference["why"][0]


def test_layers_are_what_is_counted() -> None:
    """A row for each op that the tool counts, with the MACs that it stands for."""
    model = net()
    layers = costmodel.profile(model, (1, 3, 4, 4)).counted_as("fvcore").layers
    assert layers["op"].tolist() == ["conv", "batch_norm", "linear"]
    assert layers["count"].tolist() == [2160, 160, 160]
    assert layers["macs"].tolist() == [2160, 0, 160]
    assert layers["type"].tolist() == ["Conv2d", "BatchNorm2d", "Linear"]


def test_a_fault_is_named() -> None:
    """fvcore's einsum is 41 · 37 · 43 = 65,231, as far as the four digits that numpy prints of twice as many."""

    class Product(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.einsum("ij,jk->ik", a, b)

    model = Product()
    found = costmodel.profile(model, [(37, 41), (41, 43)]).counted_as("fvcore")
    assert found.total == 65_250
    [row] = found.difference.to_dict("records")
    assert row["amount"] == 65_250 - 37 * 41 * 43
    assert row["why"].startswith("fault: ")


def test_a_tool_that_fails() -> None:
    """fvcore asserts that a norm has two dimensions; the error names tool, place and reason."""
    model = nn.LayerNorm(8)
    with pytest.raises(ToolFailsError, match="layer_norm of \\[8\\]: it asserts two to five dimensions"):
        costmodel.profile(model, (8,)).counted_as("fvcore")


def test_no_such_tool() -> None:
    """The error lists those that there are."""
    with pytest.raises(costmodel.InputError, match="'fvcor' is no tool whose convention is known; there are fvcore, "):
        costmodel.profile(net(), (1, 3, 4, 4)).counted_as("fvcor")


def test_a_profile_does_not_keep_its_model_alive() -> None:
    """The model is collected while its profile lives, which then says what it needs."""
    model = net()
    p = costmodel.profile(model, (1, 3, 4, 4))
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
    with pytest.raises(costmodel.CostModelError, match="which is gone: hold it in a variable while you ask"):
        p.counted_as("fvcore")


def test_what_was_read_is_kept() -> None:
    """Once read, the model may go: every tool that runs it in the same mode is answered."""
    model = net()
    p = costmodel.profile(model, (1, 3, 4, 4))
    p.counted_as("fvcore")
    del model
    gc.collect()
    assert p.counted_as("FlopCounterMode").total == 2 * MACS


def test_a_spec_is_built_again(tmp_path: Path) -> None:
    """A profile of a spec string needs no model, in another process neither; one read from a file does not have it."""
    p = costmodel.profile("resnet18", (1, 3, 32, 32))
    total = p.counted_as("FlopCounterMode").total
    copy = pickle.loads(pickle.dumps(costmodel.profile("resnet18", (1, 3, 32, 32))))
    assert total == copy.counted_as("FlopCounterMode").total == 2 * p.macs
    with pytest.raises(costmodel.CostModelError, match="a saved profile does not have"):
        costmodel.read_json(p.save(tmp_path / "p.json")).counted_as("fvcore")


def test_a_pickled_profile_has_no_model() -> None:
    """A model does not travel with its profile."""
    model = net()
    p = pickle.loads(pickle.dumps(costmodel.profile(model, (1, 3, 4, 4))))
    with pytest.raises(costmodel.CostModelError, match="which is gone"):
        p.counted_as("fvcore")


def test_a_model_that_was_changed() -> None:
    """Differences to MACs that a model no longer has would be wrong: it is to be profiled again."""
    model = net()
    p = costmodel.profile(model, (1, 3, 4, 4))
    model[3] = nn.Linear(80, 3)
    with pytest.raises(costmodel.CostModelError, match="has 2,400 MACs now, and had 2,320 in its profile"):
        p.counted_as("fvcore")


@dataclass
class Sample:
    """Inputs of one's own."""

    x: torch.Tensor


class OfSample(nn.Linear):
    """A layer that takes them."""

    def forward(self, sample: Sample) -> torch.Tensor:
        return super().forward(sample.x)


def test_inputs() -> None:
    """Inputs by keyword and large tensors, of which only the shape is kept, are read; objects of one's own are not."""
    model = nn.Linear(8, 4)
    x = torch.rand(KEPT_ELEMENTS, 8)
    for inputs in (x, {"input": x}, costmodel.call(x), [x]):
        p = costmodel.profile(model, inputs)
        assert p.counted_as("fvcore").total == p.macs
    held = weakref.ref(x)
    del x, inputs
    gc.collect()
    assert held() is None
    odd = OfSample(8, 4)
    with pytest.raises(costmodel.CostModelError, match="inputs that are objects of your own"):
        costmodel.profile(odd, Sample(torch.rand(2, 8))).counted_as("fvcore")


@pytest.mark.parametrize("layout", ["sparse", "jagged"])
def test_inputs_that_a_shape_does_not_stand_for(layout: str) -> None:
    """A large sparse tensor, or a nested one of any size, is not kept, nor taken for a dense one of its shape."""
    if layout == "sparse":
        x = torch.sparse_coo_tensor(torch.tensor([[0], [1]]), torch.ones(1), (KEPT_ELEMENTS, 8), check_invariants=True)
    else:
        x = torch.nested.nested_tensor([torch.rand(2, 8), torch.rand(3, 8)], layout=torch.jagged)
    model = nn.Linear(8, 4)
    p = costmodel.profile(model, x)
    with pytest.raises(costmodel.CostModelError, match="inputs that are objects of your own"):
        p.counted_as("fvcore")


def test_methods_and_functions() -> None:
    """What tools count of a module's forward, they would of a method or a function that a module wraps."""
    model = nn.Linear(8, 4)

    def twice(x: torch.Tensor) -> torch.Tensor:
        return model(x) + model(x)

    assert costmodel.profile(model.forward, (2, 8)).counted_as("fvcore").total == 64
    assert costmodel.profile(twice, (2, 8)).counted_as("fvcore").total == 128


def test_subclasses_under_other_names() -> None:
    """ultralytics-thop takes its rule from the nearest of a module's classes, whatever that is called."""

    class Same(nn.AvgPool2d):
        pass

    class Gated(nn.LSTMCell):
        pass

    class Choice(nn.LogSoftmax):
        pass

    for made, plain, shape in (
        (Same(2), nn.AvgPool2d(2), (1, 3, 4, 4)), (Gated(3, 4), nn.LSTMCell(3, 4), (2, 3)),
        (Choice(1), nn.LogSoftmax(1), (2, 5)),
    ):  # fmt: skip
        found, known = (costmodel.profile(m, shape).counted_as("ultralytics-thop").total for m in (made, plain))
        assert found == known == LIVE["ultralytics-thop"](made, (torch.rand(shape),))[0]


def test_training_mode() -> None:
    """In training, fvcore counts 5 an element of a batch norm."""
    model = net()
    found = costmodel.profile(model, (2, 3, 4, 4), mode="train").counted_as("fvcore")
    assert found.difference["amount"].tolist() == [2 * 80 * 5]


@pytest.mark.parametrize("tool", costmodel.TOOLS.values(), ids=costmodel.TOOLS)
def test_a_convention_is_complete(tool: costmodel.conventions.Tool) -> None:
    """Every entry says what it counts, and every tool which version was read."""
    entries = [*tool.ops.values(), *tool.modules.values()]
    assert entries
    assert all(entry.why for entry in entries)
    assert tool.version[0].isdigit()
    assert tool.not_counted("an_op")


def test_what_is_counted_twice() -> None:
    """ptflops hooks nn.ReLU, and replaces the function that it calls: 12 elements twice. It has no ``torch.relu``."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.relu(x))

    model = Twice()
    rows = costmodel.profile(model, (1, 12)).counted_as("ptflops").difference.to_dict("records")
    assert [(row["name"], row["op"], row["amount"]) for row in rows] == [("relu", "ReLU", 12), ("relu", "relu", 12)]
    assert rows[1]["why"] == "fault: ReLU has a hook, and calls a function that is replaced: counted twice"


def test_macs_that_are_counted_twice() -> None:
    """ptflops counts the products of attention in its hook, and again as ``torch.bmm``: 2 heads of 5 x 5 x 4, twice."""
    model = nn.MultiheadAttention(8, 2)
    p = costmodel.profile(model, [(5, 1, 8)] * 3)
    rows = p.counted_as("ptflops").difference.to_dict("records")
    assert [row["amount"] for row in rows if row["op"] == "bmm"] == [2 * 2 * 5 * 5 * 4]


def test_how_a_function_is_written() -> None:
    """ptflops counts ``torch.add`` and ``torch.matmul``, and neither ``+`` nor ``@``."""

    def written(x: torch.Tensor) -> torch.Tensor:
        return torch.add(x, x) @ (x + x)

    def named(x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(x, x)

    assert costmodel.profile(written, (4, 4)).counted_as("ptflops").total == 16
    assert costmodel.profile(named, (4, 4)).counted_as("ptflops").total == 64


def test_counts_of_a_sample_and_of_a_batch() -> None:
    """ptflops divides what modules count by the batch, and not what functions do: 24 / 3 + 24."""
    model = nn.ReLU()
    found = costmodel.profile(model, (3, 8)).counted_as("ptflops")
    assert found.total == 32
    assert found.difference["amount"].tolist() == [24, 24, -16]
    assert "divided by the first size of the first input, 3" in found.difference["why"][2]


def test_functions_are_as_before() -> None:
    """What a reading replaces is put back, also after an error; other threads do not see it."""
    before = {name: getattr(torch.nn.functional, name) for name in ("relu", "softmax")}
    inherited = set(vars(torch.Tensor))

    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if torch.jit.is_scripting() else x.view(7)

    model = nn.ReLU()
    costmodel.profile(model, (2, 3)).counted_as("ptflops")
    broken = Broken()
    p = costmodel.profile(broken, (7,))
    broken.forward = lambda x: x.view(9)  # type: ignore[method-assign]  # it fails from now on
    with pytest.raises(costmodel.ForwardError):
        p.counted_as("ptflops")
    assert {name: getattr(torch.nn.functional, name) for name in before} == before
    assert set(vars(torch.Tensor)) == inherited


class Traced(nn.Module):
    """Multiplies two sizes for a view and two for a comparison, throws a layer away, and asks whether it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.thrown, self.extra = nn.Linear(8, 4), nn.Linear(8, 16), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(1) * x.size(2) > 100:
            return x
        self.thrown(x)
        x = x.reshape(x.size(0) * x.size(1), 8)
        return self.kept(x) + self.extra(x) if torch.jit.is_tracing() else self.kept(x)


def test_the_graph_of_torchs_tracer() -> None:
    """torchprofile counts what is in that graph: a product of sizes that a view needs as 1, nothing that is thrown."""
    model = Traced()
    p = costmodel.profile(model, (2, 3, 8))
    found = p.counted_as("torchprofile")
    assert (p.macs, found.total) == (6 * 8 * (4 + 16), 6 * 8 * (4 + 4) + 1)
    rows = {(row["name"], row["op"]): row for row in found.difference.to_dict("records")}
    assert rows["", "mul"]["amount"] == 1
    assert "that of two sizes" in rows["", "mul"]["why"]
    assert rows["thrown", "linear"]["amount"] == -6 * 8 * 16
    assert "the output does not depend on this linear" in rows["thrown", "linear"]["why"]
    assert rows["", ""] == {
        "name": "", "op": "", "amount": 6 * 8 * 4,
        "why": "torchprofile runs every model while torch's tracer records it",
    }  # fmt: skip


def test_torchs_tracer_fails() -> None:
    """A tensor that requires a gradient and is no parameter cannot be a constant of the graph: the tool fails."""

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [torch.ones(8, requires_grad=True)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.hidden[0]

    model = Hidden()
    with pytest.raises(ToolFailsError, match=r"torchprofile 0.1.0 fails: torch's tracer fails: .*requires grad"):
        costmodel.profile(model, (2, 8)).counted_as("torchprofile")


def test_the_page_of_conventions() -> None:
    """docs/conventions.md has every rule, as it is now: ``python -m tests.conventions.page`` writes it."""
    assert page.PAGE.read_text() == page.page()
    assert all(f"\n## {tool}\n" in page.page() for tool in costmodel.TOOLS)
