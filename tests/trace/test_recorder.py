"""What the recorder writes down is what torch runs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import costmodel
from costmodel.trace import trace
from costmodel.trace.verify import verify
from tests.trace.networks import AsksForValues, Net, Recurrent, Residual, Transformer, UNet

NETWORKS: list[tuple[nn.Module, Any]] = [
    (Net(), (2, 3, 8, 8)),
    (UNet(), (1, 3, 16, 16)),
    (Transformer(), (2, 3, 16, 16)),
    (Recurrent(), costmodel.Input((2, 5), torch.int64)),
    (costmodel.models.hybridsn(), (1, 1, 30, 25, 25)),
    (costmodel.models.mobilenet_v3_small(), (1, 3, 64, 64)),
    (costmodel.models.shufflenet_v1(), (1, 3, 64, 64)),
]


def figures(model: nn.Module, inputs: Any, **options: Any) -> dict[str, int]:
    """All totals of a profile."""
    p = costmodel.profile(model, inputs, **options)
    assert p.is_exact, p.coverage.unknown
    totals = ("macs", "flops", "params", "buffers", "memory_access", "memory_access_bytes", "activations")
    return {name: getattr(p, name) for name in totals}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("model", "inputs"), NETWORKS, ids=lambda v: type(v).__name__)
def test_meta_and_real_agree(model: nn.Module, inputs: Any, mode: Any) -> None:
    """A trace without computing gives the figures of one on real tensors."""
    assert figures(model, inputs, mode=mode, execution="meta") == figures(model, inputs, mode=mode, execution="real")


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("model", "inputs"), NETWORKS, ids=lambda v: type(v).__name__)
def test_rules_give_torchs_shapes_and_strides(model: nn.Module, inputs: Any, mode: Any) -> None:
    """Beside every rule torch's own meta kernel is asked; shape, dtype and strides are the same."""
    found = verify(model, inputs, mode)
    assert found.verified > 3
    assert found.differences == []


class Defaults(nn.Module):
    """Makes tensors, and takes functions and products of integers, without saying in which dtype."""

    def forward(self, n: torch.Tensor) -> list[torch.Tensor]:
        made = [torch.zeros(3, 4), torch.randn(2), torch.linspace(0, 1, 5), torch.arange(0.0, 4.0), torch.eye(3)]
        return [*made, n * 0.5, torch.sin(n), torch.sigmoid(n), n / 2, torch.full((2,), 1.5), n + 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float32])
def test_the_default_dtype_is_torchs(dtype: torch.dtype) -> None:
    """Whatever torch.set_default_dtype says is the dtype of what has none of its own."""
    inputs = torch.zeros(2, 70000, dtype=torch.int64)  # too many elements to be computed for real
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        told = trace(Defaults(), inputs, execution="meta").outputs
        real = Defaults()(inputs)
    finally:
        torch.set_default_dtype(before)
    assert [t.dtype for t in told] == [str(t.dtype).removeprefix("torch.") for t in real]


class Moves(nn.Module):
    """Says where its tensors belong, as careful code does; all of them are there already."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(70000.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = self.get_buffer("table")
        y = table.to(x.device) + x.to(table.device)
        y = y.to(device=x.device, dtype=torch.float64) + table.to(x.device, torch.float64)
        return y + table.type_as(y) + torch.zeros(1, device=x.device).to(y)


def test_nothing_moves_to_where_it_is() -> None:
    """Inputs lie on meta in a trace, and the model does not notice: the copies recorded are those of a real run."""
    real, traced = (costmodel.profile(Moves(), (70000,), execution=how) for how in ("real", "meta"))
    assert list(traced.ops["op"]) == list(real.ops["op"])
    assert traced.memory_access_bytes == real.memory_access_bytes


GROUP_NORM_INPUTS = {
    "contiguous": torch.zeros(2, 4, 5, 6),
    "channels last": torch.zeros(2, 4, 5, 6).to(memory_format=torch.channels_last),
    "sliced": torch.zeros(2, 4, 5, 12)[..., ::2],
    "some channels": torch.zeros(2, 8, 5, 6)[:, :4],
    "transposed": torch.zeros(2, 4, 6, 5).transpose(2, 3),
}


@pytest.mark.parametrize("x", GROUP_NORM_INPUTS.values(), ids=GROUP_NORM_INPUTS)
def test_group_norm_copies_what_is_not_dense(x: torch.Tensor) -> None:
    """The copy that torch makes of such an input is recorded, and no closed form contradicts it."""
    from torch.utils._python_dispatch import TorchDispatchMode

    ran: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            ran.append(str(func))
            return func(*args, **(kwargs or {}))

    norm = nn.GroupNorm(2, 4)
    with torch.no_grad(), Watch():
        norm(x)
    p = costmodel.profile(norm, x)
    assert list(p.ops["op"]) == ran
    assert p.crosscheck().ok


def test_the_verifying_trace_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that told a wrong shape would be named."""
    from dataclasses import replace

    from costmodel.graph import TensorSpec
    from costmodel.ops import RULES

    wrong = replace(RULES["aten.relu.default"], outputs=lambda args: TensorSpec((1,)))
    monkeypatch.setitem(RULES, "aten.relu.default", wrong)
    found = verify(nn.ReLU(), (2, 3))
    assert "aten.relu.default" in found.differences[0]


def test_a_replaced_rule_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that takes another's place, or gives it back, is what the very next trace goes by."""
    from dataclasses import replace

    from costmodel.graph import TensorSpec
    from costmodel.ops import RULES

    true = RULES["aten.relu.default"]
    told = []
    for rule in (true, replace(true, outputs=lambda args: TensorSpec((5,))), true):
        monkeypatch.setitem(RULES, "aten.relu.default", rule)
        told.append(trace(nn.ReLU(), (2, 3)).ops[0].outputs[0].shape)
    assert told == [(2, 3), (5,), (2, 3)]


def test_real_parameters_stay_where_they_are() -> None:
    """Nothing is moved to the meta device and nothing is copied."""
    model = Net()
    pointers = [p.data_ptr() for p in model.parameters()]
    costmodel.profile(model, (1, 3, 8, 8))
    assert [p.data_ptr() for p in model.parameters()] == pointers
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_attention_is_one_op_also_inside_multi_head_attention() -> None:
    """``scaled_dot_product_attention`` is recorded above torch's choice of kernel, wherever it is called."""
    ops = costmodel.profile(Transformer(), (1, 3, 16, 16)).ops["op"]
    assert (ops == "aten.scaled_dot_product_attention.default").sum() == 2


def test_a_recurrent_layer_is_one_op() -> None:
    """An LSTM is one op, whatever its layers, directions and time steps."""
    ops = costmodel.profile(Recurrent(), costmodel.Input((2, 5), torch.int64)).ops["op"]
    assert (ops == "aten.lstm.input").sum() == 1


def test_a_value_makes_the_trace_real() -> None:
    """A model that branches on a value is run on real tensors, and the profile says so and why."""
    p = costmodel.profile(AsksForValues(), (3, 4))
    assert p.execution == "real"
    assert "value" in p.graph.reason
    with pytest.raises(costmodel.NeedsValuesError):
        costmodel.profile(AsksForValues(), (3, 4), execution="meta")


def test_small_constants_have_values() -> None:
    """What the model makes itself, or stores as a flag, may be looked at without giving up the meta trace."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("flag", torch.tensor(True))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.flag and int(torch.arange(5).sum()) == 10 and torch.tensor([3.0]).item() == 3:
                return x + 1
            return x

    p = costmodel.profile(Looks(), (2, 3))
    assert p.execution == "meta"
    assert "aten.add.Tensor" in p.coverage.counted


def test_a_buffer_that_was_written_is_not_believed() -> None:
    """After an in-place update that was recorded and not carried out, the buffer's value is no longer known."""

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.tensor(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count.add_(1)
            return x + 1 if self.count.item() == 1 else x

    model = Counts()
    p = costmodel.profile(model, (2, 3))
    assert p.execution == "real"
    assert p.flops == 1 + 6
    assert int(model.count) == 0


def test_modes_of_autograd_do_not_matter() -> None:
    """A model that switches gradients on inside is traced all the same."""

    class Switches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                return self.fc(x).view(2, 2)

    assert costmodel.profile(Switches(), (1, 4)).macs == 16


def test_expanded_operands_are_read_once() -> None:
    """Memory traffic counts elements that lie in memory: a broadcast row is read once, and so is x in x * x."""

    class Adds(nn.Module):
        def forward(self, x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
            return (x + row.expand(4, 5)) * 1

    class Squares(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x

    assert int(costmodel.profile(Adds(), ((4, 5), (1, 5))).ops["memory_access"].iloc[1]) == 20 + 5 + 20
    assert costmodel.profile(Squares(), (4, 5)).memory_access == 40


def test_reshape_copies_only_where_torch_does() -> None:
    """A view of a transposed tensor is a copy, of a contiguous one it is free."""

    class Reshapes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(0, 1).reshape(-1)

    assert costmodel.profile(Reshapes(), (4, 5)).memory_access == 40
    assert costmodel.profile(nn.Flatten(0), (4, 5)).memory_access == 0


def test_channels_last_follows_through() -> None:
    """A model in channels-last keeps that layout from convolution to activation, as it does when it really runs."""
    model = Residual().to(memory_format=torch.channels_last)
    x = torch.empty(1, 4, 6, 6).to(memory_format=torch.channels_last)
    meta = trace(model, x, execution="meta")
    real = trace(model, x, execution="real")
    assert meta.outputs.strides == real.outputs.strides == (144, 1, 24, 4)
    assert [op.outputs[0].strides for op in meta.ops] == [op.outputs[0].strides for op in real.ops]


def test_stochastic_functions_draw_nothing_and_have_no_values() -> None:
    """Dropout in training is priced without drawing."""
    p = costmodel.profile(nn.Dropout(0.5), (10,), mode="train")
    assert (p.execution, p.flops, p.memory_access) == ("meta", 20, 30)


def test_errors_name_the_layer_and_the_shapes() -> None:
    """A shape that does not fit names the layer at which it broke, what it was given and what the model was given."""
    with pytest.raises(costmodel.ForwardError) as error:
        costmodel.profile(Net(), (1, 5, 8, 8))
    text = str(error.value)
    for part in ("'stem'", "Conv2d", "float32[1, 5, 8, 8]", "takes 3 input channels", "pass inputs of the shapes"):
        assert part in text


def test_big_inputs_take_no_memory() -> None:
    """Profiling VGG-16 at batch 1024, whose activations would take 60 GB, grows the process by less than 64 MB."""
    code = (
        "import resource, costmodel\n"
        "m = costmodel.models.vgg16().eval()\n"
        "costmodel.profile(m, (1, 3, 224, 224)).macs\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "costmodel.profile(m, (1024, 3, 224, 224)).macs\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024


def test_concurrent_modules_of_other_threads_are_not_recorded() -> None:
    """What notes the calls listens to the thread that traces, and to no other."""
    import threading

    other, stop = nn.Linear(2, 2), threading.Event()

    def run() -> None:
        while not stop.is_set():
            other(torch.zeros(1, 2))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for _ in range(5):
            assert len(costmodel.profile(Net(), (1, 3, 8, 8)).graph.calls) == 11
    finally:
        stop.set()
        thread.join()


def test_functional_composites_are_seen() -> None:
    """Functional calls of every kind are counted, not only modules."""

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(6, 3, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.conv2d(x, self.w, padding="same")
            y = torch.einsum("nchw,nchw->nhw", y, y) @ torch.ones(8, 2)
            return F.scaled_dot_product_attention(y, y, y)

    p = costmodel.profile(Functional(), (1, 3, 8, 8))
    conv, einsum, product, attention = 6 * 27 * 64, 6 * 64, 8 * 8 * 2, 2 * 8 * 8 * 2
    assert p.macs == conv + einsum + product + attention
