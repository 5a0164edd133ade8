"""What the user gives stays as it is, also where it cannot be copied; and what the model holds."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import OrderedDict, UserDict, deque
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import costmodel
from costmodel.trace import garbage
from tests.trace import hostile


class Cache:
    """As transformers' caches are: an update rebinds, and grows."""

    def __init__(self) -> None:
        self.keys = torch.ones(1, 4, 8)
        self.seen = [4]


class Uncopyable(Cache):
    """One that Python cannot copy, so that the forward is given the object itself."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("a handle to something open")


class Slotted:
    """One without a dictionary of attributes."""

    __slots__ = ("keys", "seen", "unset")

    def __init__(self) -> None:
        self.keys = torch.ones(1, 4, 8)
        self.seen = [4]

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("a handle to something open")


class Decoder(nn.Module):
    """A step of generation; ``fails`` raises after the cache has grown."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.layer, self.fails = nn.Linear(8, 8), fails

    def forward(self, x: torch.Tensor, cache: Any) -> torch.Tensor:
        cache.keys = torch.cat([cache.keys, self.layer(x)], 1)
        cache.seen.append(cache.keys.shape[1])
        if self.fails:
            raise KeyError("half-way")
        return nn.functional.scaled_dot_product_attention(x, cache.keys, cache.keys)


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("kind", [Cache, Uncopyable, Slotted])
def test_a_cache_is_as_before(kind: Any, execution: Any) -> None:
    """Its attributes, lists and tensors; so a second profile gives the same numbers, and after an exception too."""
    cache = kind()
    keys, seen, values = cache.keys, cache.seen, cache.keys.clone()
    for _ in range(2):
        assert costmodel.profile(Decoder(), ((1, 1, 8), cache), execution=execution).macs == 64 + 2 * 5 * 8
        with pytest.raises(costmodel.ForwardError, match="half-way"):
            costmodel.profile(Decoder(fails=True), ((1, 1, 8), cache), execution=execution)
        assert cache.keys is keys
        assert cache.seen is seen
        assert seen == [4]
        assert torch.equal(keys, values)
        assert keys.device.type == "cpu"


class Holder:
    """Nothing of it can be copied."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("a handle to something open")


GIVEN: dict[str, Any] = {
    "dict": lambda: {"a": 1},
    "ordered dict": lambda: OrderedDict(b=1, a=2),
    "list": lambda: [1, 2],
    "deque": lambda: deque([1, 2]),
    "set": lambda: {1, 2},
    "namespace": lambda: SimpleNamespace(a=1),
    "user dict": lambda: UserDict(a=1),
    "array": lambda: np.ones(3),
    "a tuple of lists": lambda: ([1], [2]),
    "nested": lambda: [{"a": [SimpleNamespace(b=[1])]}],
}


def _wreck(value: Any) -> None:
    """Changes all that a value holds."""
    if isinstance(value, np.ndarray):
        value += 1
    elif isinstance(value, tuple):
        for item in value:
            _wreck(item)
    elif isinstance(value, (dict, UserDict)):
        for item in list(value.values()):
            _wreck(item)
        value["new"] = value.pop(next(iter(value)))
    elif isinstance(value, (list, deque)):
        for item in value:
            _wreck(item)
        value.append(0)
    elif isinstance(value, set):
        value.pop()
    elif isinstance(value, SimpleNamespace):
        _wreck(vars(value))


@pytest.mark.parametrize("made", GIVEN.values(), ids=list(GIVEN))
def test_what_an_object_holds_is_put_back(made: Any) -> None:
    """Containers of every kind, in an object that cannot be copied."""

    class Wrecks(nn.Module):
        def forward(self, x: torch.Tensor, holder: Any) -> torch.Tensor:
            _wreck(holder.value)
            holder.value = None
            return x + 1

    value = made()
    holder, before = Holder(value), repr(value)
    costmodel.profile(Wrecks(), ((2, 4), holder))
    assert holder.value is value
    assert repr(value) == before


class _State:
    """An object that a model holds, of a class of the model's own code."""

    def __init__(self) -> None:
        self.steps = [0]
        self.last: Any = None


def test_what_a_model_holds_in_objects_is_put_back() -> None:
    """A cache or a counter that the model keeps is not moved on by a profile."""

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.state = _State()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.state.steps.append(1)
            self.state.last = x * 2
            return x

    model = Counts()
    state = model.state
    costmodel.profile(model, (2, 4))
    assert model.state is state
    assert (state.steps, state.last) == ([0], None)


def test_integers_that_are_given_keep_their_values() -> None:
    """A forward that looks into them needs no real run, and what it writes into them is written into a copy."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            ids[0] = 7
            return self.layer(x) if ids.tolist() == [7, 2] else x

    ids = torch.tensor([1, 2])
    p = costmodel.profile(Looks(), ((2, 4), ids))
    assert (p.macs, p.execution) == (32, "meta")
    assert ids.tolist() == [1, 2]
    assert costmodel.profile(Looks(), ((2, 4), torch.tensor([1, 3]))).macs == 0
    assert costmodel.profile(Looks(), ((2, 4), torch.tensor([1, 2]))).macs == 32  # and it is not remembered


def test_integers_that_are_given_as_a_shape_are_zeros() -> None:
    """Where a forward looks into them, as it then does without weights, too."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.table(ids) @ self.table.weight.T if bool((ids == 0).all()) else self.table(ids)

    with torch.device("meta"):
        model = Looks()
    p = costmodel.profile(model, costmodel.Input((2, 3), torch.int64))
    assert (p.macs, p.execution) == (2 * 3 * 4 * 10, "meta")


def test_what_a_model_on_meta_makes_has_values() -> None:
    """It may look whether a mask that it has made is all ones, as those of transformers do."""

    class Masks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = torch.ones(x.shape[:2], device=x.device)
            mask = mask.to(device=self.layer.weight.device, dtype=torch.bool)
            return self.layer(x) if mask.all() else self.layer(x) * mask[..., None]

    with torch.device("meta"):
        model = Masks()
    p = costmodel.profile(model, (2, 3, 4))
    assert (p.macs, p.execution) == (96, "meta")
    assert "aten.mul.Tensor" not in p.coverage.counted


def test_a_fork_while_another_thread_profiles() -> None:
    """The child does not wait for a lock that nobody in it will release."""

    class Waits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inside.set()
            released.wait(0.5)
            return x

    inside, released = threading.Event(), threading.Event()
    thread = threading.Thread(target=costmodel.profile, args=(Waits(), (2,)))
    thread.start()
    assert inside.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if costmodel.profile(nn.Linear(2, 2), (2,)).macs == 4 else 1)
    released.set()
    thread.join(10)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


def test_a_model_in_the_requested_mode_is_not_switched() -> None:
    """So another thread that uses it at the same time never finds it in the other mode."""
    seen: list[bool] = []

    class Watched(nn.Module):
        def train(self, mode: bool = True) -> Any:
            seen.append(mode)
            return super().train(mode)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(self.training)
            return x

    model = Watched()
    costmodel.profile(model, (2,), mode="train")
    assert seen == [True]


def test_an_object_that_raises_when_it_is_asked() -> None:
    """Beside the model's class, in the model, in its inputs and in what it returns."""
    for inputs in (None, (2, 4), ((2, 4), hostile.optional)):
        for execution in ("meta", "real"):
            assert costmodel.profile(hostile.Holds(), inputs, execution=execution).flops == 8


class Plain:
    """An object that is no module, and whose method is profiled."""

    def __init__(self) -> None:
        self.layer, self.calls, self.seen = nn.Linear(4, 4), 0, []

    def run(self, x: torch.Tensor) -> Any:
        """As many layers as it was called."""
        self.calls += 1
        self.seen.append(x)
        return [self.layer(x) for _ in range(self.calls)]


def test_the_object_of_a_method_is_put_back() -> None:
    """A second profile gives the same numbers."""
    plain = Plain()
    assert [costmodel.profile(plain.run, (2, 4)).macs for _ in range(2)] == [32, 32]
    assert (plain.calls, plain.seen) == (0, [])


def test_a_loop_over_models_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models with cycles in them are collected when the process has grown, though a trace makes all objects old."""
    monkeypatch.setattr(garbage, "_MANY", 0)
    monkeypatch.setattr(garbage, "_growth", garbage._Growth())
    sizes = (2**n for n in count(10))
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: next(sizes))
    gone: list[None] = []
    for _ in range(4):
        model = nn.Sequential(nn.Linear(4, 4))
        model.itself = [model]  # type: ignore[assignment]
        weakref.finalize(model, gone.append, None)
        costmodel.profile(model, (2, 4))
        del model
    assert len(gone) == 3  # all but the last


def test_garbage_is_left_where_nothing_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that profiles one model does not wait for collections."""
    monkeypatch.setattr(garbage, "_MANY", 0)
    monkeypatch.setattr(garbage, "_growth", garbage._Growth())
    monkeypatch.setattr(sys, "getallocatedblocks", lambda: 1000)
    monkeypatch.setattr(garbage.gc, "collect", lambda *_: pytest.fail("collected"))
    model = nn.Linear(4, 4)
    for _ in range(3):
        costmodel.profile(model, (2, 4))
