from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel import crosscheck
from costmodel.errors import ForwardError, InputError
from costmodel.formulas import convolution
from costmodel.graph import OpCall
from costmodel.ops import RULES
from costmodel.quantities import Work
from costmodel.third_opinion import ModuleCount, explain

C = torch.complex64


class Functional(nn.Module):
    """A grouped convolution, and ops that are no module."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(8, 16, 3, stride=2, groups=4)
        self.norm = nn.BatchNorm2d(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.grouped(x))
        return torch.cat([y, torch.nn.functional.relu(y) + y], 1)


def test_both_wings_agree_and_functional_ops_are_traced_only() -> None:
    """Ops without a module are named as traced, and are no agreement."""
    found = crosscheck(Functional(), (1, 8, 9, 9))
    assert found.ok
    assert found.checked == 2
    assert set(found.traced_only) == {"relu", "add", "cat"}
    assert set(found.rows["name"]) == {"grouped", "norm"}
    assert set(found.rows["quantity"]) == {"output shape", "params", "macs", "flops", "memory_access"}


class Padded(nn.Conv2d):
    """What its forward calls is its own."""

    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1)), weight, bias)


def packed(x: torch.Tensor) -> Any:
    """Sequences of different lengths."""
    return nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 2]), batch_first=True)


@pytest.mark.parametrize(("layer", "shape", "given"), [
    (nn.Flatten(), (2, 3, 4, 4), lambda x: x.to(memory_format=torch.channels_last)),
    (nn.Flatten(0), (2, 3), torch.sum),
    (nn.Conv2d(3, 8, 3), (1, 1, 8, 8), lambda x: x.expand(-1, 3, -1, -1)),
    (nn.LayerNorm(8), (1, 5, 8), lambda x: x.expand(4, -1, -1)),
    (nn.LSTM(6, 9, batch_first=True), (2, 4, 6), packed),
    (nn.GRU(6, 9, batch_first=True, bidirectional=True), (2, 4, 6), packed),
    (nn.EmbeddingBag(10, 8), costmodel.Input((3, 4), torch.int64), torch.t),
    (Padded(3, 4, 3), (1, 3, 8, 8), lambda x: x),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "")  # fmt: skip
def test_what_no_formula_describes_is_traced_only(layer: nn.Module, shape: Any, given: Callable[..., Any]) -> None:
    """Copies that a layout asks for, tensors that repeat themselves in memory, lengths that no shape tells."""

    class Gives(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> Any:
            return self.layer(given(x))

    check = crosscheck(Gives(), shape)
    assert (check.ok, check.checked) == (True, 0)
    assert "layer" in check.traced_only


def test_what_autocast_casts_is_no_part_of_a_layer() -> None:
    """It stays in the layer's memory access, and no closed form knows of it."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with torch.autocast("cpu", torch.bfloat16):
        p = costmodel.profile(model, (1, 3, 8, 8))
    cast = 3 * 64 + 4 * 3 * 9 + 4  # input, weight, bias: read and written
    assert p.layers["memory_access"][0] == 2 * cast + 3 * 64 + 4 * 3 * 9 + 4 + 4 * 36
    assert (p.crosscheck().ok, p.crosscheck().checked) == (True, 5)


def test_a_norm_without_its_bias() -> None:
    """torch has such since 2.13; the formula is of both or none."""
    try:
        layer = nn.BatchNorm2d(8, bias=False)  # type: ignore[call-arg]
    except TypeError:
        pytest.skip("this torch has no norms without bias")
    assert crosscheck(layer, (1, 8, 4, 4)).ok


def test_layers_that_are_given_nothing() -> None:
    """No formula is of no elements: the layer is traced only, and what it holds is still shown."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    check = crosscheck(model, (0, 3, 8, 8))
    assert (check.ok, check.checked, len(check.traced_only)) == (True, 0, 4)
    assert costmodel.profile(nn.GroupNorm(2, 4), (0, 4, 3, 3)).flops == 0


def test_a_layer_that_the_model_hides() -> None:
    """It is checked as any other, but for its parameters: the model has none of them."""

    class Hides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(4, 4)]  # not a ModuleList

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.layers[0](x)
            return y

    check = crosscheck(Hides(), (2, 4))
    assert (check.ok, check.checked) == (True, 1)
    assert list(check.rows["quantity"]) == ["output shape", "macs", "flops", "memory_access"]


def test_a_rule_that_forgets_groups_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traced wing is broken: the layer and the quantities are named."""
    name = "aten.convolution.default"
    op = name if name in RULES else "aten.conv2d.default"

    def ungrouped(call: OpCall) -> Work:
        weight, (y,) = call.args["weight"], call.outputs
        return Work(macs=y.size * prod(weight.shape[1:]) * call.args["groups"], adds=y.size)

    monkeypatch.setitem(RULES, op, replace(RULES[op], work=ungrouped))
    found = crosscheck(Functional(), (1, 8, 9, 9))
    assert not found.ok
    assert {(c.name, c.quantity) for c in found.mismatches} == {("grouped", "macs"), ("grouped", "flops")}
    macs = next(c for c in found.mismatches if c.quantity == "macs")
    assert macs.traced == 4 * macs.closed_form
    assert "grouped" in str(found)
    assert "grouped" in found.to_markdown()
    assert "disagree" in found.to_markdown()


def test_a_formula_that_swaps_stride_and_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed wing is broken: the layer and its output shape are named."""
    right = convolution.conv_output_size

    def swapped(*, kernel: Any, stride: Any, **rest: Any) -> Any:
        return right(kernel=stride, stride=kernel, **rest)

    monkeypatch.setattr(convolution, "conv_output_size", swapped)
    found = crosscheck(Functional(), (1, 8, 9, 9))
    assert ("grouped", "output shape") in {(c.name, c.quantity) for c in found.mismatches}
    assert {c.name for c in found.mismatches} == {"grouped"}


def test_fvcore_is_a_third_column() -> None:
    """fvcore's count stands on the rows of MACs, with the reason where it differs."""
    found = crosscheck(Functional(), (1, 8, 9, 9), against="fvcore")
    macs = found.rows[found.rows["quantity"] == "macs"].set_index("name")
    by_hand = 4 * 4 * 16 * 2 * 9  # output positions, output channels, input channels of a group, taps
    assert macs.loc["grouped", ["traced", "closed_form", "fvcore", "why"]].tolist() == [by_hand, by_hand, by_hand, ""]
    assert macs.loc["norm", "traced"] == 0
    assert macs.loc["norm", "fvcore"] > 0
    assert "batch_norm" in macs.loc["norm", "why"]
    assert found.rows[found.rows["quantity"] != "macs"]["fvcore"].isna().all()
    assert "fvcore" in found.to_markdown()
    assert "batch_norm" in str(found)


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
@pytest.mark.parametrize(
    ("model", "inputs", "name", "why"),
    [
        (lambda: nn.Sequential(nn.LSTM(4, 4)), (3, 1, 4), "0", "does not count aten::lstm"),
        (lambda: nn.Sequential(*[nn.Linear(4, 4)] * 2), (1, 4), "0", "2 calls of this module as one sum"),
        (lambda: nn.Sequential(nn.Upsample(scale_factor=2)), (1, 1, 4, 4), "0", "upsample_nearest2d"),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16), (3, 1, 8), "self_attn", "aten::scaled_dot_product_attention"),
        (lambda: nn.Sequential(nn.Linear(3, 4, dtype=C)), costmodel.Input((2, 3), C), "0", "complex numbers as one"),
        (lambda: nn.Sequential(nn.Conv1d(3, 4, 2, dtype=C)), costmodel.Input((2, 3, 5), C), "0", "three real conv"),
    ],
)
def test_fvcore_differs_for_a_reason(model: Callable[[], nn.Module], inputs: Any, name: str, why: str) -> None:
    """The reason is read off what fvcore found: operators it cannot count, norms it adds, calls it sums up."""
    assert why in crosscheck(model(), inputs, against="fvcore").third[name].why


def test_a_difference_without_a_reason_says_so() -> None:
    """A count that nothing explains is not explained away."""
    assert "not explained" in explain(ModuleCount({"conv": 10}, ()), macs=11, calls=1)
    assert explain(ModuleCount({"conv": 11}, ()), macs=11, calls=1) == ""


class Moody(nn.Module):
    """Draws at random, writes to a buffer, has hooks and mixed flags; may raise half-way."""

    def __init__(self, raises: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout()
        self.frozen = nn.Linear(4, 4).eval()
        self.register_buffer("seen", torch.zeros(1))
        self.frozen.weight.requires_grad_(False)
        self.raises = raises
        self.frozen.register_forward_hook(lambda *_: None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        self.last = x
        y = self.drop(self.norm(x)) + torch.rand(4)
        if self.raises and torch.jit.is_tracing():
            raise ValueError("half-way")
        return self.frozen(y)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("raises", [False, True])
def test_the_model_stays_as_it_was(mode: Any, raises: bool) -> None:
    """After fvcore has run it for real: buffers, flags, hooks, attributes and random state, also when it raises."""
    model = Moody(raises)
    before, flags = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    keys = [set(vars(m)) for m in model.modules()]
    hooks = [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in model.modules()]
    buffers = [id(b) for b in model.buffers()]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    if raises:
        with pytest.raises(ForwardError, match="fvcore cannot trace Moody: ValueError: half-way"):
            crosscheck(model, (2, 4), mode=mode, against="fvcore")
    else:
        assert crosscheck(model, (2, 4), mode=mode, against="fvcore").ok
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == flags
    assert [set(vars(m)) for m in model.modules()] == keys
    assert [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in model.modules()] == hooks
    assert [id(b) for b in model.buffers()] == buffers
    assert not model.frozen.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_a_name_of_no_tool() -> None:
    """The error lists those that there are, before anything runs."""
    with pytest.raises(InputError, match=r"'tohp' is no tool .* did you mean 'thop'\?"):
        crosscheck(nn.Linear(2, 2), (1, 2), against="tohp")


def test_fvcores_total() -> None:
    """fvcore is run: its total is what its convention derives, 2 for each of 200 elements of the norm included."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(100, 3))
    found = crosscheck(model, (2, 2, 7, 7), against="fvcore")
    assert found.total is not None
    by_hand = 2 * 25 * 4 * 2 * 9 + 2 * 200 + 2 * 300
    assert (found.total.counted, found.total.live, found.ok) == (by_hand, by_hand, True)
    assert f"fvcore 0.1.5.post20221221 in total: {by_hand:,} MACs, as derived from the trace" in str(found)
    assert f"in total: {by_hand:,} MACs, as derived" in found.to_markdown()


@pytest.mark.parametrize("tool", ["fvcore", "FlopCounterMode"])
def test_a_total_that_differs(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A convention that counts other than the tool does when it runs: the check is red, and shows both."""
    held = costmodel.TOOLS[tool]
    broken = {**held.ops, "linear": replace(held.ops["linear"], count=lambda _: 13)}
    monkeypatch.setitem(vars(held), "ops", broken)
    found = crosscheck(nn.Linear(3, 4), (1, 3), against=tool)
    assert not found.ok
    assert not found.mismatches
    live = 12 if tool == "fvcore" else 24
    said = f"{live} {held.unit}, where 13 is derived from the trace"
    assert f"✗ {tool} {held.version} in total: {said}" in str(found)
    assert f"❌ {tool} {held.version} in total: {said}" in found.to_markdown()


def test_the_totals_of_torchs_own_counter() -> None:
    """It is run, too: 2 FLOPs a multiply-accumulate; its layers are those of its convention."""
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 4))
    found = crosscheck(model, (5, 2, 3), against="FlopCounterMode")
    assert found.total is not None
    assert (found.total.counted, found.total.live, found.total.unit) == (240, 240, "FLOPs")
    assert (found.third["0"].count, found.third["0"].why) == (240, "")
    assert found.third["1"].count == 0
    assert found.third["1"].why.startswith("lstm: fault: oneDNN's kernel has no formula")


def test_a_counter_that_is_not_run() -> None:
    """thop is not needed: its figures are those of its convention, with the reasons where a layer's differ."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(100, 3))
    found = crosscheck(model, (2, 2, 7, 7), against="thop")
    assert found.total is not None
    assert (found.total.counted, found.total.live, found.ok) == (2 * 25 * 4 * 18 + 4 * 200 + 600, None, True)
    macs = found.rows[found.rows["quantity"] == "macs"].set_index("name")
    assert macs["thop"].tolist() == [3600, 800, 0, 600]
    assert macs["why"].tolist()[:1] == [""]
    assert macs.loc["1", "why"].startswith("BatchNorm2d: 4 an element of the input")
    assert "derived from the trace; it was not run" in str(found)


def test_what_is_counted_inside_of_a_layer() -> None:
    """Attention is one layer: what a tool counts of the ops inside is that layer's; what it counts elsewhere is not."""
    model = nn.Sequential(nn.ReLU(), nn.TransformerEncoderLayer(8, 2, 16))
    found = crosscheck(model, (5, 1, 8), against="torchprofile")
    total = costmodel.profile(model, (5, 1, 8)).counted_as("torchprofile").total
    assert found.total is not None
    assert found.total.counted == total
    assert found.third["1.self_attn"].count > 0
    assert found.third["1.linear1"].count == 5 * 8 * 16
    assert found.third["1.linear1"].why == ""


def test_a_tool_that_fails_on_a_model() -> None:
    """ptflops takes attention's inputs by position alone."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.attention(query=x, key=x, value=x)[0]
            return y

    with pytest.raises(costmodel.CostModelError, match=r"ptflops 0.7.5 fails: attention: it takes attention's three"):
        crosscheck(Named(), (5, 1, 8), against="ptflops")
