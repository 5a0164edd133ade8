"""Forwards in which something fails, or would with other tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import costmodel

Way = Callable[[Any, torch.Tensor], Any]


class Forgives(nn.Module):
    """A forward that catches what goes wrong inside."""

    def __init__(self, attempt: Way, instead: Way, caught: type[Exception] = RuntimeError) -> None:
        super().__init__()
        self.caught = caught
        self.fits, self.unfit = nn.Linear(4, 4), nn.Linear(3, 3)
        self.attempt, self.instead = attempt, instead

    def forward(self, x: torch.Tensor) -> Any:
        try:
            y = self.attempt(self, x)
        except self.caught:
            y = self.instead(self, x)
        return self.fits(y)


@pytest.mark.parametrize("hooked", [False, True])
def test_a_layer_that_a_forward_forgives(hooked: bool) -> None:
    """It ends where its exception left it: what follows is priced once, and sums to the total."""
    model = Forgives(lambda m, x: m.unfit(m.fits(x)), lambda m, x: m.fits(m.fits(x) * 2))
    if hooked:
        for module in model.modules():
            module.register_forward_hook(lambda *_: None)
    p = costmodel.profile(model, (2, 4))
    assert p.macs == 4 * 32 == p.layers["macs"].sum()
    assert hooked or list(p.layers["name"]) == ["fits", "unfit", "fits", "mul", "fits", "fits"]
    assert p.crosscheck().ok


def test_a_value_that_a_forward_could_do_without() -> None:
    """The trace does not take the way that a model takes where torch fails: with values, torch would not."""

    def twice_if_positive(model: Any, x: torch.Tensor) -> Any:
        return model.fits(x) if x.abs().sum() > 0 else x

    for instead in (lambda m, x: x, lambda m, x: m.unfit(x)):
        p = costmodel.profile(Forgives(twice_if_positive, instead, Exception), (2, 4))
        assert (p.execution, p.macs) == ("real", 64)
    with pytest.raises(costmodel.NeedsValuesError):
        costmodel.profile(Forgives(twice_if_positive, lambda m, x: x, Exception), (2, 4), execution="meta")

    def in_low_precision(model: Any, x: torch.Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return model.fits(x).float()

    assert costmodel.profile(Forgives(in_low_precision, lambda m, x: x, Exception), (2, 4)).macs == 64


@torch.library.custom_op("costmodel_tests::add_one_", mutates_args=("x",))
def add_one_(x: torch.Tensor) -> None:
    """As kernels of one's own often are: it writes, and returns nothing."""
    x.add_(1)


@add_one_.register_fake
def _(x: torch.Tensor) -> None:
    pass


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_ops_that_return_nothing(execution: Any) -> None:
    """torch insists on that, also when they are answered from memory."""

    class Writes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * 2
            for _ in range(2):
                torch._assert_async((x == x).all())
                add_one_(x)
            return x

    for _ in range(2):
        p = costmodel.profile(Writes(), (2, 4), execution=execution)
        assert list(p.coverage.unknown) == ["costmodel_tests.add_one_.default"]
        assert p.coverage.counted["aten._assert_async.default"] == 2


@pytest.mark.parametrize(("model", "inputs", "said"), [
    (nn.Linear(4, 4), costmodel.Input((2, 4), torch.float16), "a linear layer takes tensors of one dtype, got float16"),
    (nn.Conv2d(3, 4, 3).half(), torch.ones(1, 3, 8, 8), "a convolution takes tensors of one dtype, got float32 and f"),
    (nn.Embedding(5, 3), (2, 3), "takes int64 or int32 indices, got float32"),
])  # fmt: skip
def test_a_dtype_that_torch_refuses(model: nn.Module, inputs: Any, said: str) -> None:
    """The error says how to give an input another."""
    with pytest.raises(costmodel.ForwardError, match=said) as caught:
        costmodel.profile(model, inputs)
    assert "costmodel.Input(" in str(caught.value)


def test_an_output_padding_that_torch_refuses() -> None:
    """It must be smaller than the stride or the dilation."""
    with pytest.raises(
        costmodel.ForwardError, match=r"output_padding \(1, 1\) must be smaller than the stride \(1, 1\)"
    ):
        costmodel.profile(nn.ConvTranspose2d(4, 4, 3, padding=1, output_padding=1), (1, 4, 8, 8))


def test_a_shape_has_the_models_dtype() -> None:
    """A half model is not given floats."""
    for dtype in (torch.bfloat16, torch.float64):
        (x,) = costmodel.profile(nn.Linear(4, 4).to(dtype), (2, 4)).graph.inputs
        assert x.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("forward", [
    lambda x: x * float(f"{x.mean():.3f}"), lambda x: x * {"cpu": 2}[x.device.type],
], ids=["format", "device"])  # fmt: skip
def test_what_only_a_real_tensor_has(forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The trace is made again with real tensors."""

    class Asks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(x)

    assert costmodel.profile(Asks(), (2, 4)).execution == "real"


def test_a_forward_that_differentiates_is_told_so() -> None:
    """Its input is not to blame."""

    class Force(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            with torch.enable_grad():
                return torch.autograd.grad((x.requires_grad_() ** 2).sum(), x)

    with pytest.raises(costmodel.ForwardError, match="a forward that differentiates cannot be traced"):
        costmodel.profile(Force(), (2, 4))


@pytest.mark.parametrize("resizes", [
    lambda x: torch.mm(x, x.mT, out=torch.empty(0)), lambda x: torch.empty(0).resize_(2, 2) + x @ x.mT,
    lambda x: (x @ x.mT).resize_(4),
], ids=["out", "empty", "in place"])  # fmt: skip
def test_what_is_resized_is_known_by_its_new_shape(resizes: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """torch resizes the tensor that a result is to be written into."""

    class Resizes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return resizes(x)

    for execution in ("auto", "real"):
        p = costmodel.profile(Resizes(), (2, 4), execution=execution)
        assert (p.macs, p.is_exact) == (2 * 2 * 4, True)
        assert p.graph.outputs.size == 4


def test_a_module_that_is_not_whole() -> None:
    """The most usual reason is told."""

    class Half(nn.Module):
        def __init__(self) -> None:
            pass

    with pytest.raises(costmodel.InputError, match=r"\(Half\) is no whole module: its __init__ does not call super"):
        costmodel.profile(Half(), (1, 2))
