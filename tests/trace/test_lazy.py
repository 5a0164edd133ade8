from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

import costmodel

EXECUTIONS = pytest.mark.parametrize("execution", ["meta", "real"])


def lazy() -> nn.Module:
    """A network that has most of torch's lazy modules, and others."""
    return nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConvTranspose2d(4, 2), nn.LazyInstanceNorm2d(),
        nn.Conv2d(4, 4, 1), nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip


def state(model: nn.Module) -> list[Any]:
    """All that a module holds, and its class."""
    return [
        (type(m), {k: dict(v) if isinstance(v, dict) else v for k, v in vars(m).items()}, m.training)
        for m in model.modules()
    ] + [(id(t), type(t)) for t in (*model.parameters(), *model.buffers())]


@EXECUTIONS
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_lazy_modules_cost_what_they_become(mode: Any, execution: Any) -> None:
    """They take shapes from the input, are cross-checked as what they become, and are lazy again afterwards."""
    model, real = lazy(), lazy()
    real(torch.zeros(2, 3, 8, 8))
    expected = costmodel.profile(real, (2, 3, 8, 8), mode=mode, execution=execution)
    before, random = state(model), torch.get_rng_state()
    p = costmodel.profile(model, (2, 3, 8, 8), mode=mode, execution=execution)
    assert p.layers.equals(expected.layers)
    assert p.modules.equals(expected.modules)
    assert (p.params, p.buffers, p.peak_memory) == (expected.params, expected.buffers, expected.peak_memory)
    assert p.crosscheck().ok
    assert p.crosscheck().checked == expected.crosscheck().checked > 0
    assert state(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    # Still lazy: it takes another shape, and then runs.
    assert costmodel.profile(model, (2, 1, 8, 8), execution=execution).params < p.params
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


@EXECUTIONS
def test_lazy_again_after_an_exception(execution: Any) -> None:
    """Also where the forward fails after the first layers have their shapes."""
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Linear(7, 7))
    before = state(model)
    with pytest.raises(costmodel.ForwardError, match="layer '2'"):
        costmodel.profile(model, (2, 3), execution=execution)
    assert state(model) == before
    assert isinstance(model[0].weight, UninitializedParameter)


def test_nothing_of_a_lazy_network_takes_memory_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the trace materialises lies on the meta device."""
    made: list[str] = []
    materialise: Callable[..., None] = UninitializedParameter.materialize

    def watched(tensor: Any, *args: Any, **kwargs: Any) -> None:
        materialise(tensor, *args, **kwargs)
        made.append(tensor.device.type)

    monkeypatch.setattr(UninitializedParameter, "materialize", watched)
    costmodel.profile(lazy(), (2, 3, 8, 8))
    assert set(made) == {"meta"}
    made.clear()
    costmodel.profile(lazy(), (2, 3, 8, 8), execution="real")
    assert set(made) == {"cpu"}


def test_a_lazy_model_of_another_dtype() -> None:
    """A bare shape is of the dtype that the lazy parameters will have; ``dtype`` applies to them too."""
    half = nn.LazyLinear(4, dtype=torch.float16)
    p = costmodel.profile(half, (2, 3))
    assert (p.inputs[0].dtype, p.params_bytes) == ("float16", 2 * 16)
    assert costmodel.profile(nn.LazyLinear(4), (2, 3), dtype="float64").params_bytes == 8 * 16
    assert half.weight.dtype == torch.float16


def test_a_lazy_layer_that_is_not_called() -> None:
    """Its parameters have no number, and the error names it."""

    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.LazyLinear(4), nn.LazyLinear(4)

        def forward(self, x: torch.Tensor) -> Any:
            return self.used(x)

    with pytest.raises(costmodel.InputError, match=r"parameters of unused \(LazyLinear\) have no shape"):
        costmodel.profile(Skips(), (2, 3))


class OwnLazy(nn.Module):
    """Lazy without torch's mixin, as graph libraries' layers are; with a value that initialising sets anew."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = UninitializedParameter()
        self.scale = nn.Parameter(torch.full((1,), 7.0))
        self.seen = 0
        self._hook = self.register_forward_pre_hook(self.initialise)

    @torch.no_grad()
    def initialise(self, module: nn.Module, given: Any) -> None:
        """Makes the weight, once."""
        assert isinstance(self.weight, UninitializedParameter)
        self.weight.materialize((given[0].shape[-1], 4))
        self.weight.fill_(1)
        self.scale.fill_(1)
        self.seen = int(given[0].shape[-1])
        self._hook.remove()
        del self._hook

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A product."""
        return x @ self.weight * self.scale


@EXECUTIONS
def test_a_lazy_layer_of_ones_own(execution: Any) -> None:
    """What its hook changes beside the lazy parameter is as before, too."""
    model = OwnLazy()
    p = costmodel.profile(model, (2, 3), execution=execution)
    assert (p.macs, p.params, p.flops) == (24, 13, 48 + 8)
    assert p.ops["op"].tolist() == ["aten.mm.default", "aten.mul.Tensor"]
    assert (model.seen, model.scale.item()) == (0, 7.0)
    assert model(torch.ones(2, 3)).tolist() == [[3.0] * 4] * 2
