"""What a user declares of functions and layers whose inside a trace cannot see."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.declared import DECLARED
from costmodel.graph import OpCall, TensorSpec
from costmodel.layers import USER_LAYERS
from costmodel.layers.capture import READERS
from costmodel.ops.rule import RULES


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """What a test registers is gone after it."""
    declared, layers, rules = dict(DECLARED), dict(USER_LAYERS), set(RULES)
    yield
    DECLARED.clear()
    DECLARED.update(declared)
    USER_LAYERS.clear()
    USER_LAYERS.update(layers)
    READERS.clear()
    for target in set(RULES) - rules:
        del RULES[target]


class Product(torch.autograd.Function):
    """A matrix product by NumPy, which no dispatch mode sees."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(x.detach().numpy() @ weight.detach().numpy()) * scale

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        raise NotImplementedError


class Multiplies(nn.Module):
    """Runs that function on its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Product.apply(x, self.weight)


def register_product(**arguments: Any) -> None:
    """Its cost: a multiply-accumulate for each element of the weight and each row."""

    @costmodel.register_function(
        Product,
        outputs=lambda args: TensorSpec((args["x"].shape[0], args["weight"].shape[1])),
        kind="matmul",
        **arguments,
    )
    def product(call: OpCall) -> costmodel.Work:
        assert call.args["scale"] == 1.0
        return costmodel.Work(macs=call.args["x"].shape[0] * call.args["weight"].size)


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_one_op_stands_for_an_autograd_function(execution: Any) -> None:
    """Its rule gives cost, traffic and memory; nothing inside is recorded; its weight counts as read."""
    register_product()
    p = costmodel.profile(nn.Sequential(nn.Linear(5, 6), Multiplies()), (3, 5), execution=execution)
    assert [op.op.split(".")[1] for op in p.graph.ops] == ["linear", "Product"]
    assert p.is_exact
    assert p.macs == 3 * 5 * 6 + 3 * 6 * 4
    assert p.active_params == p.params == 36 + 24
    assert p.memory_access == (15 + 36 + 18) + (18 + 24 + 12)
    assert p.peak_memory == 4 * (15 + 18 + 12)  # the input is held
    assert list(p.layers["kind"]) == ["linear", "matmul"]


def test_without_outputs_the_function_runs_on_real_tensors() -> None:
    """Nothing says what it would return on meta tensors, so auto runs for real."""

    @costmodel.register_function(Product)
    def product(call: OpCall) -> dict[str, int]:
        return {"macs": 7}

    p = costmodel.profile(Multiplies(), (3, 6))
    assert (p.execution, p.macs) == ("real", 7)
    with pytest.raises(costmodel.NeedsValuesError, match="without outputs"):
        costmodel.profile(Multiplies(), (3, 6), execution="meta")


def test_a_real_run_may_read_values_off_the_arguments() -> None:
    """``observe`` gets them as they are; its rule says that the cost is a bound where nothing was read."""

    @costmodel.register_function(
        Product,
        outputs=lambda args: TensorSpec((args["x"].shape[0], 4)),
        observe=lambda args: {"rows": int((args["x"] != 0).any(1).sum())},
        bound_because=lambda call: None if "observed" in call.args else "rows of zeros are not known",
    )
    def product(call: OpCall) -> costmodel.Work:
        return costmodel.Work(macs=call.args.get("observed", {}).get("rows", 0) * 24)

    x = torch.zeros(3, 6)
    x[1] = 1
    real = costmodel.profile(Multiplies(), x, execution="real")
    assert (real.macs, real.is_exact) == (24, True)
    assert pickle.loads(pickle.dumps(real)).macs == 24
    on_meta = costmodel.profile(Multiplies(), x, execution="meta")
    assert (on_meta.macs, on_meta.is_exact) == (0, False)


def test_classes_and_modules_are_as_before() -> None:
    """After a trace, also one that fails, nothing is replaced; another thread runs the function itself meanwhile."""
    register_product()
    seen = []

    class Beside(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            def run() -> None:
                seen.append(Product.apply(torch.ones(1, 2), torch.ones(2, 3)))

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            return x

    before = dict(vars(Product))
    costmodel.profile(nn.Sequential(Beside(), Multiplies()), (3, 6))
    assert torch.equal(seen[0], torch.full((1, 3), 2.0))
    with pytest.raises(costmodel.ForwardError):
        costmodel.profile(nn.Sequential(Multiplies(), nn.Linear(9, 9)), (3, 6))
    assert dict(vars(Product)) == before


def test_a_function_is_found_by_name_once_its_module_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the module itself and under the names of the model's module; nothing is imported for it."""

    @costmodel.register_function("kernels_of_mine.fast:double", outputs=lambda args: args["x"], arguments="x")
    def double(call: OpCall) -> costmodel.Work:
        return costmodel.Work(adds=call.args["x"].size)

    assert "kernels_of_mine.fast" not in sys.modules
    costmodel.profile(nn.ReLU(), (3,))
    kernels = ModuleType("kernels_of_mine.fast")
    kernels.double = lambda x: torch.from_numpy(2 * x.detach().numpy())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kernels_of_mine.fast", kernels)
    monkeypatch.setattr(sys.modules[__name__], "imported", kernels.double, raising=False)

    class Doubles(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return kernels.double(x) + imported(x)  # type: ignore[name-defined,no-any-return]  # noqa: F821

    p = costmodel.profile(Doubles(), (3, 4))
    assert p.coverage.counted == {"kernels_of_mine.double.function": 2, "aten.add.Tensor": 1}
    assert p.flops == 36


class Opaque(nn.Module):
    """A layer of NumPy, with a layer inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.weight = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.inner(x).detach().numpy() @ self.weight.detach().numpy())


def register_opaque() -> None:
    """Its cost, by hand: two products and a bias."""

    @costmodel.register_layer(Opaque, opaque=True)
    def opaque(module: Opaque, shape: tuple[int, ...]) -> costmodel.LayerCost:
        rows = shape[0]
        work = costmodel.Work(macs=rows * (36 + 24), adds=rows * 6)
        return costmodel.LayerCost(
            kind="matmul", output_shape=(rows, 4), read=rows * 12 + 66, written=rows * 10, work=work, params=66
        )


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_an_opaque_layer_has_its_declared_cost_in_the_totals(execution: Any) -> None:
    """Nothing inside is recorded, on meta tensors nor on real ones; parameters are those of the module."""
    register_opaque()
    p = costmodel.profile(nn.Sequential(nn.Linear(5, 6), Opaque()), (3, 5), execution=execution)
    assert p.is_exact
    assert p.macs == 3 * 30 + 3 * 60
    assert p.params == p.active_params == 36 + 42 + 24
    assert p.memory_access == (15 + 36 + 18) + (3 * 22 + 66)
    assert p.peak_memory == 4 * (15 + 18 + 12)
    assert [call.name for call in p.graph.calls if call.is_leaf][:2] == ["0", "1"]
    assert p.coverage.counted == {"aten.linear.default": 1, "costmodel.layer.declared": 1}


def test_a_declared_cost_is_not_derived_twice() -> None:
    """The cross-check says of how many layers the cost is declared, in every view."""
    register_opaque()
    p = costmodel.profile(nn.Sequential(nn.Linear(5, 6), Opaque()), (3, 5))
    check = p.crosscheck()
    assert (check.checked, check.declared, check.traced_only) == (1, ("1",), ())
    assert "1 declared, not derived" in str(p)
    assert "declared, not derived" in p.to_markdown()
    assert "a declared cost, which nothing derives" in p.to_html()
    alone = costmodel.profile(Opaque(), (3, 6))
    assert "nothing derived twice, for the cost of each layer that ran is declared" in str(alone)


def test_a_saved_profile_of_an_opaque_layer_needs_no_registration(tmp_path: Any) -> None:
    """The declared figures are in the file."""
    register_opaque()
    p = costmodel.profile(Opaque(), (3, 6))
    path = p.save(tmp_path / "p.json")
    DECLARED.clear()
    back = costmodel.read_json(path)
    assert (back.macs, back.memory_access_bytes, back.is_exact) == (p.macs, p.memory_access_bytes, True)


def test_an_opaque_layer_that_is_registered_anew_is_traced_again() -> None:
    """Without ``opaque`` the trace looks inside, as before."""
    register_opaque()
    costmodel.register_layer(Opaque)(USER_LAYERS[Opaque])
    p = costmodel.profile(Opaque(), (3, 6), execution="real")
    assert "costmodel.layer.declared" not in p.coverage.counted
    assert "aten.linear.default" in p.coverage.counted


def test_a_declared_cost_that_fails_is_named() -> None:
    """The error says of which layer, on what."""

    @costmodel.register_layer(Opaque, opaque=True)
    def opaque(module: Opaque, shape: tuple[int, ...]) -> costmodel.LayerCost:
        raise KeyError("width")

    with pytest.raises(costmodel.InputError, match=r"Opaque failed on .*float32\[3, 6\].*width"):
        costmodel.profile(Opaque(), (3, 6))
