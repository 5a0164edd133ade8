"""Which module ran, under which name, how often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import costmodel
from tests.trace.networks import Net, Recurrent


def names(model: nn.Module, inputs: object) -> list[str]:
    """The names of a profile's layers."""
    return list(costmodel.profile(model, inputs).layers["name"])


def test_layers_come_in_order_with_qualified_names() -> None:
    """Leaf calls under their qualified names, functional ops under module/op, in the order in which they ran."""
    assert names(Net(), (1, 3, 8, 8)) == [
        "stem", "block.conv1", "block.bn1", "block.relu", "block.conv2", "block.bn2", "block/add", "block.relu",
        "_adaptive_avg_pool2d", "view", "drop", "fc",
    ]  # fmt: skip


def test_a_module_called_twice_has_two_rows_and_one_set_of_parameters() -> None:
    """Costs are per call, parameters count where they are first used."""
    layer = nn.Linear(8, 8)
    p = costmodel.profile(nn.Sequential(layer, nn.ReLU(), layer), (1, 8))
    assert list(p.layers["params"]) == [72, 0, 0]
    assert list(p.layers["macs"]) == [64, 0, 64]
    assert p.params == 72


def test_a_module_under_two_names_is_named_by_its_caller() -> None:
    """A module registered in two places shows under the name of the place that called it, and lists its other names."""
    shared = nn.Linear(4, 4)
    model = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))
    p = costmodel.profile(model, (1, 4))
    assert list(p.layers["name"]) == ["0.0", "1.0"]
    assert p.graph.modules["0.0"].aliases == ("1.0",)
    assert p.params == 20


def test_a_shared_parameter_counts_once_and_is_shown() -> None:
    """Tied weights are one tensor."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
            self.out.weight = self.words.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.words(x))

    p = costmodel.profile(Tied(), costmodel.Input((1, 3), torch.int64))
    assert p.params == 40
    assert p.shared_parameters == {"words.weight": ("out",)}
    assert list(p.layers["params"]) == [40, 0]


def test_a_module_hidden_in_a_list_is_priced_and_marked() -> None:
    """A module that is not registered runs all the same: its calls count, under its class in <>."""

    class Hides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [nn.Linear(4, 4)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.hidden[0](x)

    p = costmodel.profile(Hides(), (1, 4))
    assert list(p.layers["name"]) == ["<Linear>"]
    assert (p.macs, p.params) == (16, 0)


def test_unused_parameters_count() -> None:
    """Parameters of modules that did not run are in the total, and in the table of modules."""
    model = Net()
    model.unused = nn.Linear(100, 100)  # type: ignore[assignment]  # mypy knows Net's attributes
    p = costmodel.profile(model, (1, 3, 8, 8))
    assert p.params == sum(q.numel() for q in model.parameters())
    assert int(p.modules.set_index("name").loc["unused", "calls"]) == 0
    assert int(p.modules.loc[0, "params"]) == p.params


def test_modules_add_up() -> None:
    """The root's row is the total, a container's row is the sum of what ran inside it."""
    p = costmodel.profile(Net(), (1, 3, 8, 8))
    table = p.modules.set_index("name")
    for total in ("macs", "flops", "memory_access", "memory_access_bytes", "activations", "params"):
        assert int(table.loc["", total]) == getattr(p, total)
    inside = p.ops[p.ops["module"].str.startswith("block")]
    assert int(table.loc["block", "flops"]) == int(inside["flops"].sum())


def test_rows_sum_to_totals() -> None:
    """Layers and ops are two partitions of the same execution."""
    p = costmodel.profile(Recurrent(), costmodel.Input((2, 5), torch.int64))
    for total in ("macs", "flops", "memory_access", "memory_access_bytes", "activations"):
        assert int(p.layers[total].sum()) == getattr(p, total) == int(p.ops[total].sum())


def test_nested_outputs_are_recorded() -> None:
    """Outputs in dicts and lists keep their nesting, as records."""
    outputs = costmodel.profile(Recurrent(), costmodel.Input((2, 5), torch.int64)).graph.outputs
    assert outputs["logits"].shape == (2, 3)
    assert [t.shape for t in outputs["state"]] == [(4, 2, 12), (4, 2, 12)]


def test_shapes_of_numpy() -> None:
    """A shape may be computed with NumPy."""
    assert costmodel.profile(nn.Linear(2, 3), (np.int64(4), np.int32(2))).macs == 4 * 2 * 3


def test_keyword_and_nested_inputs() -> None:
    """A dict is keyword arguments; tuples and lists inside stay as the model takes them; other values pass."""

    class Takes(nn.Module):
        def forward(self, x: torch.Tensor, pair: tuple[torch.Tensor, list[torch.Tensor]], scale: float) -> torch.Tensor:
            return (x + pair[0] + pair[1][0]) * scale

    p = costmodel.profile(Takes(), {"x": (2, 3), "pair": ((2, 3), [(2, 3)]), "scale": 0.5})
    assert p.flops == 18


def test_a_profile_goes_to_another_process_and_the_model_is_let_go() -> None:
    """Records keep nothing of the model alive, and can be pickled, before any table was asked for."""
    import gc
    import pickle
    import weakref

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    p = costmodel.profile(model, (1, 3, 8, 8))
    watched = weakref.ref(model)
    del model
    gc.collect()
    assert watched() is None
    sent = pickle.loads(pickle.dumps(p))
    assert sent.macs == p.macs
    assert sent.layers.equals(p.layers)


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_a_dropped_profile_is_freed_at_once(execution: Any) -> None:
    """Nothing in a trace refers back to itself: its records need no garbage collection."""
    import gc
    import weakref

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    gc.disable()
    try:
        with torch.autocast("cpu"):
            p = costmodel.profile(model, (1, 3, 8, 8), execution=execution)
        recording = weakref.ref(p.graph.recording)
        del p
        assert recording() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("shape", [(-1, 3), (1.5, 3), [1, 3, 8, -8]])
def test_what_is_nearly_a_shape_is_told_so(shape: object) -> None:
    """Negative or fractional sizes are named, and not taken for arguments of the forward."""
    with pytest.raises(costmodel.InputError, match="non-negative integers, not"):
        costmodel.profile(nn.ReLU(), shape)


class Fails(nn.Module):
    """Never returns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("no")


def test_a_call_that_raised_and_was_forgiven_is_left() -> None:
    """Where a forward goes on after an exception inside a module, what follows its end is not taken to be inside it."""

    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fails, self.works = Fails(), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return self.fails(x)
            except ArithmeticError:
                return self.works(x @ x.mT)

    p = costmodel.profile(nn.Sequential(Tries(), nn.Linear(3, 3)), (3, 3))
    own = p.modules.set_index("name")["macs"]
    assert list(own[["", "0", "0.fails", "0.works", "1"]]) == [81, 54, 0, 27, 27]


class Twice(nn.Module):
    """Something to look into while it runs."""

    def __init__(self, meanwhile: Callable[[nn.Module], object] = lambda model: None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.meanwhile = meanwhile

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Something happens between its two layers."""
        x = self.first(x)
        self.meanwhile(self)
        return self.second(x)


CALLS = ["", "first", "second"]


def calls(profile: costmodel.Profile) -> list[str]:
    """The names of what was called."""
    assert profile.macs == 36
    return [call.name for call in profile.graph.calls]


def test_everybodys_hooks_are_run() -> None:
    """A module's own hooks, everyone's, and those that a forward sets; a class's own way of calling itself."""
    seen: list[str] = []

    def note(module: nn.Module, *_: object) -> None:
        seen.append(type(module).__name__)

    def hooked(model: nn.Module) -> None:
        model.second.register_forward_hook(note)

    assert calls(costmodel.profile(Twice(hooked), (2, 3))) == CALLS
    assert seen == ["Linear"]

    model = Twice()
    model.first.register_forward_pre_hook(note)
    assert calls(costmodel.profile(model, (2, 3))) == CALLS
    assert seen == ["Linear"] * 2

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        assert calls(costmodel.profile(Twice(), (2, 3))) == CALLS
    finally:
        handle.remove()
    assert seen == [*["Linear"] * 4, "Twice"]

    handles: list[Any] = []
    model = Twice(lambda _: handles.append(nn.modules.module.register_module_forward_pre_hook(note)))
    try:
        assert calls(costmodel.profile(model, (2, 3))) == CALLS
    finally:
        handles[0].remove()
    assert seen[5:] == ["Linear"]

    class OwnWay(nn.Linear):
        def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
            note(self)
            return super()._call_impl(*args, **kwargs)

    model = Twice()
    model.second = OwnWay(3, 3)
    assert calls(costmodel.profile(model, (2, 3))) == CALLS
    assert seen[6:] == ["OwnWay"]
    hooks = [name for name in vars(nn.modules.module) if name.startswith("_global_") and "hook" in name]
    assert len(hooks) > 5
    assert not any(getattr(nn.modules.module, name) for name in hooks)


def test_a_profile_within_a_forward() -> None:
    """Each of the two sees its own calls, though both are of the same modules."""
    inside: list[costmodel.Profile] = []

    def again(model: nn.Module) -> None:
        if not inside:
            inside.append(costmodel.profile(model.first, (2, 3)))

    model = Twice(again)
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    assert calls(costmodel.profile(model, (2, 3))) == CALLS
    assert [call.name for call in inside[0].graph.calls] == [""]
    assert inside[0].macs == 18
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before


def test_keywords_of_any_name() -> None:
    """What a module is given by keyword is its own business."""

    class Names(nn.Module):
        def forward(self, module: torch.Tensor, info: torch.Tensor) -> torch.Tensor:
            return module @ info

    class Gives(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.names = Names()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.names(module=x, info=x.mT)  # type: ignore[no-any-return]  # as every module call

    assert costmodel.profile(Gives(), (2, 3)).macs == 12


def test_an_exception_within_hooked_modules_is_left() -> None:
    """The end of a module that has hooks is its own, though one inside had raised and was forgiven."""

    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fails = Fails()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with suppress(ArithmeticError):
                self.fails(x)
            return x + x

    model = nn.Sequential(Tries(), nn.Linear(3, 3))
    for module in model.modules():
        module.register_forward_hook(lambda *_: None)
    p = costmodel.profile(model, (2, 3))
    own = p.modules.set_index("name")["macs"]
    assert list(own[["", "0", "1"]]) == [18, 0, 18]
    assert [(call.name, call.parent) for call in p.graph.calls] == [("", -1), ("0", 0), ("0.fails", 1), ("1", 0)]


def test_another_thread_runs_the_model_meanwhile() -> None:
    """It computes what it would, and its calls are not taken for the trace's."""
    outputs: list[torch.Tensor] = []
    x = torch.ones(2, 3)

    def elsewhere(model: nn.Module) -> None:
        thread = threading.Thread(target=lambda: outputs.append(model.first(x)))
        thread.start()
        thread.join()

    model = Twice(elsewhere)
    assert calls(costmodel.profile(model, (2, 3))) == CALLS
    assert torch.equal(outputs[0], model.first(x))


def test_two_threads_profile_one_model() -> None:
    """The second waits for the first, and both leave the model as it was."""
    running, found = threading.Event(), []

    def wait(model: nn.Module) -> None:
        running.set()
        time.sleep(0.05)

    model = Twice(wait)
    before = {name: dict(vars(module)) for name, module in model.named_modules()}

    def run() -> None:
        found.append(calls(costmodel.profile(model, (2, 3))))

    first = threading.Thread(target=run)
    first.start()
    assert running.wait(60)
    run()
    first.join()
    assert found == [CALLS, CALLS]
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before


def test_a_thread_profiles_what_fvcore_counts_in_another() -> None:
    """The third opinion runs the model too, and changes it meanwhile."""
    counting, ran = threading.Event(), []

    def wait(model: nn.Module) -> None:
        ran.append(threading.get_ident())
        if len(ran) == 2:  # the first was the trace that is to be checked
            counting.set()
        time.sleep(0.05)

    model = Twice(wait).train()
    check = partial(costmodel.crosscheck, model, (2, 3), against="fvcore")
    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    assert counting.wait(60)
    assert calls(costmodel.profile(model, (2, 3))) == CALLS
    thread.join()
    assert threading.get_ident() in ran
    assert all(module.training for module in model.modules())
