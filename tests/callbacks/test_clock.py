"""The clock of a training, and what runs around the methods of a trainer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import torch

from costmodel.callbacks.around import around
from costmodel.callbacks.clock import Clock, clock_of


class Time:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Trainer:
    """What has a method."""

    def save(self, calls: list[str], *, name: str = "saved") -> int:
        """Writes down that it was called."""
        calls.append(name)
        return len(calls)


def writes(calls: list[str], name: str) -> Any:
    """A context that writes down when it begins and ends, in a list that the method is given."""

    @contextmanager
    def context(given: list[str], **_: Any) -> Iterator[None]:
        assert given is calls
        calls.append(f"{name} begins")
        yield
        calls.append(f"{name} ends")

    return context


def test_it_stands_still_while_it_is_stopped() -> None:
    """By whomever, as long as one has stopped it, and also where the block ends in an error."""
    time = Time()
    clock = Clock(time)
    start = clock.read()
    time.now += 2
    with clock.stopped():
        time.now += 10
        with suppress(ZeroDivisionError), clock.stopped():
            time.now += 20
            raise ZeroDivisionError
        time.now += 30
        assert clock.read() - start == 2
    time.now += 3
    assert clock.read() - start == 2 + 3


def test_what_a_gpu_still_computes_is_of_the_time_before_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock waits for it once, at the first of several stops, and only where a GPU is in use."""
    time = Time()
    monkeypatch.setattr("costmodel.callbacks.clock.Clock", lambda wait: Clock(time, wait))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: vars(time).update(now=time.now + 5))
    for in_use, waited in ((False, 0), (True, 5)):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)  # noqa: B023  # called within the turn
        clock = clock_of(Trainer())
        start = clock.read()
        with clock.stopped(), clock.stopped():
            time.now += 100
        assert clock.read() - start == waited


def test_each_trainer_has_one_clock() -> None:
    """The same for all who ask, of which nothing is left once the trainer is gone."""
    trainer = Trainer()
    assert clock_of(trainer) is clock_of(trainer) is not clock_of(Trainer())
    gone = weakref.ref(trainer)
    del trainer
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("first_ends", [True, False])
def test_those_around_a_method_end_in_any_order(first_ends: bool) -> None:
    """Each runs while it is there, with what the method is given; after the last the object is as it was."""
    trainer, calls = Trainer(), []  # type: Trainer, list[str]
    both = [around(trainer, "save", writes(calls, name)) for name in ("a", "b")]
    for one in both:
        one.__enter__()
    assert trainer.save(calls, name="saved") == 3
    assert calls == ["a begins", "b begins", "saved", "b ends", "a ends"]
    both[not first_ends].__exit__(None, None, None)
    calls.clear()
    trainer.save(calls)
    name = "b" if first_ends else "a"
    assert calls == [f"{name} begins", "saved", f"{name} ends"]
    both[first_ends].__exit__(None, None, None)
    assert not vars(trainer)


def test_an_object_s_own_method_comes_back() -> None:
    """One that was put on the object before."""
    trainer = Trainer()
    trainer.save = own = lambda *_, **__: 7  # type: ignore[method-assign]
    with around(trainer, "save", writes([], "a")):
        assert trainer.save is not own
    assert trainer.save is own


def test_what_others_put_in_its_place_stays() -> None:
    """Also where that calls what it replaced, which is then the method alone."""
    trainer, calls = Trainer(), []  # type: Trainer, list[str]
    with around(trainer, "save", writes(calls, "a")):
        before = trainer.save
        trainer.save = lambda *given, **how: 10 * before(*given, **how)  # type: ignore[method-assign]
        assert trainer.save(calls) == 20
    calls.clear()
    assert trainer.save(calls) == 10
    assert calls == ["saved"]
