"""Forwards in which something fails, or would with other tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

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


class Asks(nn.Module):
    """A layer, and what a forward does with its output."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.layer, self.way = nn.Linear(4, 4), way

    def forward(self, x: torch.Tensor) -> Any:
        return self.way(self, self.layer(x))


def _copies_only_real_memory(model: Asks, x: torch.Tensor) -> torch.Tensor:
    if x.untyped_storage().data_ptr() == 0:
        raise OSError("no such memory")
    return x


@pytest.mark.parametrize("way", [
    lambda m, x: x * float(f"{x.mean():.3f}"),
    lambda m, x: torch.from_numpy(x.detach().numpy()),
    lambda m, x: x if x.data_ptr() else x[None],
    lambda m, x: x if x.flatten(1)[0].data_ptr() else x[None],
    lambda m, x: torch.tensor(x.tolist()),
    _copies_only_real_memory,
], ids=["format", "numpy", "data_ptr", "data_ptr of a view", "tolist", "an error of its own"])  # fmt: skip
def test_what_only_a_real_tensor_has(way: Way) -> None:
    """The trace is made again with real tensors, whatever the error was, and says why."""
    p = costmodel.profile(Asks(way), (2, 4))
    assert (p.execution, p.macs, list(p.graph.outputs.shape)) == ("real", 32, [2, 4])
    assert "Asks's own forward" in p.graph.reason


_DEVICE_TYPES: dict[str, Way] = {
    "device.type": lambda m, x: x if x.device.type in ("cpu", "cuda") else m.layer(x),
    "is_cpu": lambda m, x: x if x.is_cpu and not x.is_cuda and not x.is_meta else m.layer(x),
    "the device of a weight": lambda m, x: x if x.device == m.layer.weight.device else m.layer(x),
    "a view's": lambda m, x: x if x.view(-1).device.type == "cpu" else m.layer(x),
    "get_device": lambda m, x: x if x.get_device() == -1 else m.layer(x),
    "type": lambda m, x: x if x.type() == "torch.FloatTensor" else m.layer(x),
    "a look-up": lambda m, x: x * {"cpu": 1}[x.device.type],
    "autocast off": lambda m, x: _autocast(x, enabled=False),
    "autocast on": lambda m, x: _autocast(x, dtype=torch.bfloat16),
    "autocast's dtype": lambda m, x: x if torch.get_autocast_dtype(x.device.type) == torch.bfloat16 else m.layer(x),
    "a generator": lambda m, x: x + torch.rand(4, generator=torch.Generator(device=x.device)),
    "a factory": lambda m, x: x if torch.ones(4, device=x.device).sum().item() == 4 else m.layer(x),
}


def _autocast(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    with torch.autocast(x.device.type, **kwargs):
        return x + 1


@pytest.mark.parametrize("way", _DEVICE_TYPES.values(), ids=list(_DEVICE_TYPES))
def test_a_forward_that_asks_for_the_device(way: Way) -> None:
    """It sees that of the model, and takes the branch that it takes there, without a real run."""
    p = costmodel.profile(Asks(way), (2, 4))
    assert (p.execution, p.macs) == ("meta", 32)
    assert costmodel.profile(Asks(way), (2, 4), execution="real").macs == 32


def test_a_model_on_meta_sees_that_it_is() -> None:
    """There the device that the tensors name is their own."""
    with torch.device("meta"):
        model = Asks(lambda m, x: x if x.is_meta and x.device.type == "meta" else m.layer(x))
    assert costmodel.profile(model, (2, 4)).macs == 32


def _force(model: Asks, x: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(model.layer(x).sum(), x)[0]


@pytest.mark.parametrize("execution", ["auto", "meta", "real"])
def test_a_gradient_inside_the_forward(execution: Any) -> None:
    """Both products of the layer are counted, and the gradient's; nothing of the model learns from it."""
    model = Asks(_force)
    p = costmodel.profile(model, (2, 4), execution=execution)
    assert (p.macs, list(p.graph.outputs.shape)) == (3 * 32, [2, 4])
    assert p.execution == ("real" if execution == "real" else "meta")
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    for switched in (torch.no_grad, torch.inference_mode):
        with switched():
            assert costmodel.profile(model, (2, 4), execution=execution).macs == 3 * 32


def _learn(model: Asks, x: torch.Tensor) -> torch.Tensor:
    y = model.layer(x)
    y.sum().backward()
    return y


def _sensitivity(model: Asks, x: torch.Tensor) -> torch.Tensor:
    y = model.layer(x)
    return y + torch.autograd.grad(y.sum(), model.layer.weight)[0].sum()


@pytest.mark.parametrize("switched", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("way", [_learn, _sensitivity])
def test_a_forward_that_differentiates_is_read_in_any_mode_of_the_caller(way: Any, switched: Any) -> None:
    """The layer runs twice; its weight's gradient is two products, and one leads from the second call to the first.

    torch itself fails where autograd is switched off.
    """
    model = Asks(way)
    with switched():
        x = torch.ones(2, 4)
        if switched is not nullcontext:
            with pytest.raises(RuntimeError, match="does not require grad"):
                model(x)
        found = [costmodel.profile(model, inputs).macs for inputs in ((2, 4), x)]
        assert found == [5 * 32, 5 * 32]
    assert all(parameter.grad is None for parameter in model.parameters())


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


def _jagged(*lengths: int) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.randn(n, 8) for n in lengths], layout=torch.jagged)


@pytest.mark.parametrize("execution", ["auto", "real"])
def test_jagged_tensors(execution: Any) -> None:
    """Each layer does the work of all the rows, which are one matrix, and is derived twice as for that."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
    p = costmodel.profile(model, _jagged(3, 5), execution=execution)
    assert (p.macs, p.is_exact, p.execution) == (2 * 8 * 8 * 16, True, "real")
    assert p.crosscheck().ok
    assert p.crosscheck().checked == 3


def test_a_jagged_tensor_made_inside() -> None:
    """Of parts of an input, without a real run."""

    class Packs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.nested.nested_tensor([x[0, :3], x[1]], layout=torch.jagged)).values()

    p = costmodel.profile(Packs(), (2, 5, 8))
    assert (p.macs, p.execution, p.is_exact) == (8 * 64, "meta", True)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("execution", ["auto", "real"])
def test_strided_nested_tensors_are_refused(execution: Any) -> None:
    """torch tells no sizes of them; the error says what does."""
    given = torch.nested.nested_tensor([torch.randn(3, 8), torch.randn(5, 8)])
    with pytest.raises(costmodel.InputError, match=r"nested tensor of strided layout.*layout=torch\.jagged"):
        costmodel.profile(nn.Linear(8, 8), given, execution=execution)


ERRORS: dict[str, tuple[Way, Any, tuple[str, ...]]] = {
    "a shape": (lambda m, x: m.layer(x.T), (2, 4), ("'layer'", "Linear", "float32[4, 2]", "pass inputs of the shapes")),
    "an argument": (lambda m, x: m.layer(), (2, 4), ("missing 1 required positional argument", "it takes forward(x")),
    "two inputs": (lambda m, x: x, ((2, 4), (2, 4)), ("it takes forward(x", "costmodel.call(")),
    "a dtype": (lambda m, x: m.layer(x.long()), (2, 4), ("costmodel.Input(shape, torch.int64)",)),
    "an index": (lambda m, x: x[9], (2, 4), ("out of", "pass inputs of the shapes")),
    "an error of its own": (lambda m, x: x.nothing, (2, 4), ("AttributeError", "try model(*inputs)")),
    "a size": (lambda m, x: x.view(3, 3), (2, 4), ("shape '[3, 3]' is invalid", "pass inputs of the shapes")),
}


@pytest.mark.parametrize(("way", "inputs", "parts"), ERRORS.values(), ids=list(ERRORS))
@pytest.mark.parametrize("execution", ["auto", "real"])
def test_an_error_says_where_and_what_to_do(way: Way, inputs: Any, parts: tuple[str, ...], execution: Any) -> None:
    """The module, the user's file and line, the shapes, and a remedy that fits."""

    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            return way(self, x)

    with pytest.raises(costmodel.ForwardError) as error:
        costmodel.profile(Fails(), inputs, execution=execution)
    message = str(error.value)
    for part in parts:
        assert part in message
    assert "float32[2, 4]" in message
    if inputs == (2, 4):
        assert re.search(r"test_troubles\.py:\d+", message)


def test_an_index_that_no_table_has() -> None:
    """Token ids beyond the vocabulary: what to give is said."""
    with pytest.raises(costmodel.ForwardError, match="as tensors of values that the model takes"):
        costmodel.profile(nn.Embedding(10, 4), torch.tensor([99]), execution="real")


def test_a_real_run_that_would_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and what was needed."""
    monkeypatch.setattr("costmodel.trace.available_memory", lambda: 2**30)
    with pytest.raises(costmodel.ForwardError, match=r"A real run was not tried: its tensors take 16\.0 GiB and more"):
        costmodel.profile(Asks(lambda m, x: x.nothing), (2**29, 4))


def test_what_is_given_with_a_tensor() -> None:
    """That it wants a gradient, and attributes that the user has set."""
    x = torch.ones(2, 4, requires_grad=True)
    layer = nn.Linear(4, 4)
    for execution in ("meta", "real"):
        assert costmodel.profile(lambda x: layer(x) if x.requires_grad else x, x, execution=execution).macs == 32
        grad = costmodel.profile(lambda x: torch.autograd.grad(layer(x).sum(), x)[0], x, execution=execution)
        assert grad.macs == 2 * 32
    x = torch.ones(2, 4)
    x.times = 3  # type: ignore[attr-defined]
    assert costmodel.profile(lambda x: [layer(x) for _ in range(x.times)], x).macs == 3 * 32


@pytest.mark.parametrize("read", [
    lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.data_ptr(), lambda x: np.asarray(x),
    lambda x: x.__dlpack__(),
], ids=["numpy", "tolist", "data_ptr", "asarray", "__dlpack__"])  # fmt: skip
def test_a_forward_that_forgives_a_read(read: Callable[[torch.Tensor], Any]) -> None:
    """It takes the way that it takes with values, not the one for tensors without."""

    def tries(model: Asks, x: torch.Tensor) -> torch.Tensor:
        try:
            read(x)
        except Exception:
            return model.layer(x)  # type: ignore[no-any-return]
        return x

    p = costmodel.profile(Asks(tries), (2, 4))
    assert (p.macs, p.execution) == (32, "real")


def test_a_buffer_that_is_resized() -> None:
    """It has its size and values again."""

    class Grows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.register_buffer("kept", torch.zeros(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.kept.resize_(2, 4).copy_(x)
            return self.layer(self.kept)

    model = Grows()
    assert costmodel.profile(model, (2, 4)).macs == 32
    assert model.kept.shape == (0,)
    x = torch.ones(2, 4)
    assert costmodel.profile(lambda x: model.layer(x.resize_(4, 4)), x).macs == 64
    assert torch.equal(x, torch.ones(2, 4))


def test_a_list_of_integers_that_is_no_shape() -> None:
    """``costmodel.Value`` passes it as it is."""
    layer = nn.Linear(4, 4)
    given = costmodel.call((2, 4), costmodel.Value([5, 5]))
    assert costmodel.profile(lambda x, sizes: [layer(x) for _ in sizes], given).macs == 64
    p = costmodel.profile(functional.interpolate, costmodel.call((1, 3, 8, 8), size=costmodel.Value((4, 4))))
    assert list(p.graph.outputs.shape) == [1, 3, 4, 4]


def test_a_forward_of_which_nothing_has_run() -> None:
    """A generator or a coroutine is a lower bound, and says so."""

    class Yields(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            yield x * 2

    p = costmodel.profile(Yields(), (2, 4))
    assert not p.is_exact
    assert "generator, of which nothing has run" in p.coverage.bounds[0].why


def test_layers_that_see_other_tensors_than_their_ops() -> None:
    """Under torch.func's transforms, nothing is compared; nor where a hook of a layer changes what it is given."""
    layer = nn.Linear(4, 4)
    p = costmodel.profile(lambda x: torch.vmap(layer)(x), (2, 4))
    assert (p.macs, p.crosscheck().ok, p.crosscheck().checked) == (32, True, 0)
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_forward_pre_hook(lambda m, given: (torch.cat([given[0], given[0]]),))
    found = costmodel.profile(model, (2, 4)).crosscheck()
    assert (found.ok, found.checked) == (True, 0)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_frozen_model_costs_the_same_each_time() -> None:
    """torch.jit's optimiser compares constants in the first calls, which are no ops of the model."""
    model = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval()))
    assert len({costmodel.profile(model, (2, 8)).flops for _ in range(4)}) == 1


class _SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def _raises(model: Asks, x: torch.Tensor) -> Any:
    raise _SilentError


def test_an_exception_without_a_text() -> None:
    """Its type is named."""
    with pytest.raises(costmodel.ForwardError, match="_SilentError"):
        costmodel.profile(Asks(_raises), (2, 4))


def test_the_default_dtype_is_as_before() -> None:
    """Also where a forward sets it."""

    def sets(model: Asks, x: torch.Tensor) -> torch.Tensor:
        torch.set_default_dtype(torch.float64)
        return x

    costmodel.profile(Asks(sets), (2, 4))
    assert torch.get_default_dtype() is torch.float32


class Leaves(nn.Module):
    """Ends Python."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise SystemExit(0)


def test_a_forward_that_ends_python_has_failed() -> None:
    """Its exit status would be taken for that of a check."""
    with pytest.raises(costmodel.ForwardError, match="SystemExit"):
        costmodel.profile(Leaves(), (1, 3))
