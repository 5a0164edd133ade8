from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import costmodel

EXECUTIONS = pytest.mark.parametrize("execution", ["meta", "real"])


class Encoder(nn.Module):
    """Has a forward and other methods."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.head = nn.Linear(4, 5)
        self.scale = nn.Parameter(torch.ones(4))
        self.calls: list[str] = []

    def encode(self, x: torch.Tensor, *, twice: bool = False) -> torch.Tensor:
        """The first half."""
        self.calls.append("encode")
        y: torch.Tensor = self.embed(x) * self.scale
        return y + self.embed(x) if twice else y

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """Calls the forward."""
        result: torch.Tensor = self(x)
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both halves."""
        result: torch.Tensor = self.head(self.encode(x))
        return result


@EXECUTIONS
def test_a_method_of_a_model(execution: Any) -> None:
    """Its ops are counted, with all of the model's parameters; the model is as before."""
    model = Encoder()
    p = costmodel.profile(model.encode, (2, 3), execution=execution)
    assert (p.macs, p.flops, p.params) == (24, 24 * 2 + 8 + 8, 16 + 4 + 25)
    assert p.name == p.graph.model == "Encoder.encode"
    assert p.layers["name"].tolist() == ["embed", "mul"]
    assert p.graph.outputs.shape == (2, 4)
    assert model.calls == []
    assert model.training
    table = p.modules.set_index("name")
    assert int(table.loc["", "macs"]) == 24
    assert int(table.loc["", "params"]) == p.params


def test_a_method_takes_a_call() -> None:
    """Positional and keyword arguments, also as a pair that fits the method's signature and not the forward's."""
    model = Encoder()
    for given in (costmodel.call((2, 3), twice=True), (((2, 3),), {"twice": True})):
        assert costmodel.profile(model.encode, given).macs == 48


@pytest.mark.parametrize("method", ["forward", "whole", "__call__"])
def test_the_forward_itself_and_what_calls_it(method: str) -> None:
    """A model by way of one of its methods costs what the model costs."""
    model = Encoder()
    whole, p = costmodel.profile(model, (2, 3)), costmodel.profile(getattr(model, method), (2, 3))
    for total in ("macs", "flops", "params", "memory_access", "peak_memory"):
        assert getattr(p, total) == getattr(whole, total)
    table = p.modules.set_index("name")
    assert int(table.loc["", "macs"]) == whole.macs
    assert p.crosscheck().ok


def test_a_method_that_fails() -> None:
    """The error says which layer failed, and the model is as before."""
    model = Encoder()
    with pytest.raises(costmodel.ForwardError, match=r"Encoder.*layer 'embed' \(Linear\)"):
        costmodel.profile(model.encode, (2, 7))
    assert costmodel.profile(model.encode, (2, 3)).macs == 24


encoder = Encoder()
"""A global variable that a function uses."""


def _head(y: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = encoder.head(y)
    return result


def uses_a_global(x: torch.Tensor) -> torch.Tensor:
    """By way of another function."""
    return _head(encoder.encode(x))


def uses_a_default(x: torch.Tensor, model: nn.Module = encoder) -> Any:
    """As its argument."""
    return model(x)


def uses_a_keyword_default(x: torch.Tensor, *, models: Any = (encoder,)) -> Any:
    """In a tuple."""
    return models[0](x)


def uses_an_argument(model: nn.Module, x: torch.Tensor) -> Any:
    """Of a partial."""
    return model(x)


def closes_over() -> Any:
    """A function over a variable, with another function in it."""
    model, parts = Encoder(), {"head": encoder.head}
    return lambda x: [parts["head"](model.encode(y)) for y in (x,)]


class Pipeline:
    """Holds a model, and is none."""

    def __init__(self) -> None:
        self.model = encoder

    def run(self, x: torch.Tensor) -> Any:
        """By a method."""
        return self.model(x)

    def __call__(self, x: torch.Tensor) -> Any:
        return self.run(x)


@EXECUTIONS
@pytest.mark.parametrize(
    "function",
    [
        uses_a_global,
        uses_a_default,
        uses_a_keyword_default,
        partial(uses_an_argument, encoder),
        partial(uses_an_argument, model=encoder),
        Pipeline(),
        Pipeline().run,
    ],
)
def test_a_function_has_the_parameters_that_it_uses(function: Any, execution: Any) -> None:
    """Modules in global variables, defaults, arguments of a partial and attributes are found, and left as they were."""
    inputs = costmodel.call(x=(2, 3)) if isinstance(function, partial) else (2, 3)
    before = dict(vars(encoder))
    p = costmodel.profile(function, inputs, execution=execution)
    assert (p.macs, p.params) == (24 + 40, 45)
    assert {"Linear"} <= set(p.layers["type"])
    assert p.crosscheck().checked == 2
    assert p.mode == "eval"
    assert vars(encoder) == before
    assert encoder.training


@EXECUTIONS
def test_a_closure(execution: Any) -> None:
    """A module and a part of another, in variables that the function closes over."""
    p = costmodel.profile(closes_over(), (2, 3), execution=execution)
    assert (p.macs, p.params) == (24 + 40, 45 + 25)


def test_a_function_of_parameters() -> None:
    """Parameters count, tensors that are none do not; ops are counted by themselves."""
    w, b = nn.Parameter(torch.randn(4, 3)), torch.zeros(4)

    def layer(x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, w, b)

    p = costmodel.profile(layer, (2, 3))
    assert (p.name, p.macs, p.params) == ("layer", 24, 12)
    assert costmodel.profile(lambda x: x @ x.mT, (2, 3)).macs == 12
    assert costmodel.profile(torch.sigmoid, (2, 3)).params == 0
    assert w.grad is None


def test_names_that_a_submodule_must_not_have() -> None:
    """Variables called as something that every module has, or as each other, get names of their own."""
    forward, train, one, two = (nn.Linear(3, 3) for _ in range(4))

    def run(x: torch.Tensor, first: Any = {"a": one}, second: Any = {"a": two}) -> Any:  # noqa: B006  # for its name
        return second["a"](first["a"](train(forward(x))))

    p = costmodel.profile(run, (2, 3))
    assert (p.macs, p.params) == (4 * 18, 4 * 12)


def test_functions_and_methods_are_compared_and_checked() -> None:
    """Comparisons and cross-checks take them; fvcore, which runs a module's forward, says so of methods."""
    sides = {"whole": encoder, "half": encoder.encode, "function": uses_a_global}
    assert costmodel.compare(sides, (2, 3)).table["macs"].tolist() == [64, 24, 64]
    assert costmodel.crosscheck(encoder.encode, (2, 3)).checked == 1
    assert costmodel.crosscheck(uses_a_default, (2, 3), against="fvcore").ok
    with pytest.raises(costmodel.InputError, match=r"not Encoder\.encode"):
        costmodel.crosscheck(encoder.encode, (2, 3), against="fvcore")


@pytest.mark.parametrize("nonsense", [None, 3, nn.Linear, Encoder, {"a": 1}])
def test_what_is_no_model_is_refused(nonsense: Any) -> None:
    """A class is no model, and a number neither."""
    with pytest.raises(costmodel.InputError, match="a method of one or a function, not"):
        costmodel.profile(nonsense, (2, 3))
