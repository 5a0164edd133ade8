"""``records.dataclass`` does what ``dataclasses.dataclass`` does, for every dataclass of the library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from threading import Barrier
from typing import Any, ClassVar

import pytest

from costmodel import records

NAN = float("nan")
OPTIONS: list[dict[str, bool]] = [
    {}, {"frozen": True}, {"slots": True}, {"frozen": True, "slots": True}, {"frozen": True, "kw_only": True},
    {"eq": False}, {"frozen": True, "eq": False, "slots": True}, {"unsafe_hash": True, "kw_only": True, "slots": True},
    {"frozen": True, "repr": False},
]  # fmt: skip


class Plain:
    """Fields of every kind that the library has."""

    a: int
    b: Any = 1
    words: list[str] = field(default_factory=list)
    hidden: int = field(default=3, repr=False)
    ignored: int = field(default=4, compare=False)
    made: list[int] = field(init=False, default_factory=list)
    late: int = field(init=False, default=5)
    kind: ClassVar[str] = "plain"

    def __post_init__(self) -> None:
        """Changes what was given."""
        object.__setattr__(self, "late", self.a + 1)


class Own:
    """Methods of its own, which stay."""

    x: int

    def __repr__(self) -> str:
        return "own"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


def both(body: type, options: dict[str, bool]) -> list[Any]:
    """The class made by the standard library, and ours."""
    namespace = {k: v for k, v in vars(body).items() if k not in ("__dict__", "__weakref__")}
    made = [type(body.__name__, (), {**namespace, "__qualname__": "Twin"}) for _ in range(2)]
    return [dataclasses.dataclass(**options)(made[0]), records.dataclass(**options)(made[1])]


def said(do: Any) -> str:
    """What a call returns, or how it fails."""
    try:
        return repr(do()).replace("Plain.", "")
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def vars_of(made: Any) -> list[Any]:
    """The values of all fields."""
    return [getattr(made, f.name) for f in dataclasses.fields(made)]


QUESTIONS: dict[str, Any] = {
    "signature": lambda cls: inspect.signature(cls),
    "repr": lambda cls: "0x" in repr(cls(a=1)) or repr(cls(a=1, b=[2])),
    "missing": lambda cls: cls(b=2),
    "too many": lambda cls: cls(1, 2, [], 4, 5, 6),
    "equal": lambda cls: (cls(a=1) == cls(a=1), cls(a=1) == cls(a=2), cls(a=1) == 1),
    "nan": lambda cls: cls(a=NAN) == cls(a=NAN),
    "not compared": lambda cls: cls(a=1, ignored=1) == cls(a=1, ignored=2),
    "hash": lambda cls: hash(cls(a=1, words=())) == hash((1, 1, (), 3, (), 2)),
    "assign": lambda cls: setattr(cls(a=1), "a", 2),
    "delete": lambda cls: delattr(cls(a=1), "a"),
    "new name": lambda cls: setattr(cls(a=1), "z", 2),
    "own lists": lambda cls: cls(a=1).words is cls(a=1).words,
    "replace": lambda cls: vars_of(dataclasses.replace(cls(a=1, words=["x"]), a=5)),
    "fields": lambda cls: [(f.name, f.type, f.init) for f in dataclasses.fields(cls)],
    "post": lambda cls: cls(a=1).late,
    "asdict": lambda cls: dataclasses.asdict(cls(a=1)),
    "match": lambda cls: cls.__match_args__,
    "copy": lambda cls: copy.copy(cls(a=1, b=(2,))).b,
    "slots": lambda cls: getattr(cls, "__slots__", None),
    "kind": lambda cls: cls.kind,
}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("question", QUESTIONS)
def test_it_answers_as_the_standard_one(question: str, options: dict[str, bool]) -> None:
    """Construction, comparison, hash, text, copies and errors are the same."""
    (theirs, ours), ask = both(Plain, options), QUESTIONS[question]
    if question == "new name" and options.get("frozen") and options.get("slots"):
        assert "FrozenInstanceError" in said(lambda: ask(ours))  # theirs fails within itself, with a TypeError
        return
    assert said(lambda: ask(ours)) == said(lambda: ask(theirs))


@pytest.mark.parametrize("options", [o for o in OPTIONS if "unsafe_hash" not in o], ids=str)
def test_methods_of_the_class_stay(options: dict[str, bool]) -> None:
    """What a class defines itself is kept."""
    theirs, ours = both(Own, options)
    for cls in (theirs, ours):
        assert (repr(cls(x=1)), cls(x=1) == cls(x=2), cls(x=1) == 3) == ("own", True, True)


@records.dataclass(frozen=True, slots=True)
class Base:
    """A record to inherit from."""

    x: int


@records.dataclass(frozen=True, slots=True)
class Child(Base):
    """One with a further field."""

    y: int = 2


def test_a_record_is_inherited_and_pickled() -> None:
    """Fields come in order, records of different classes differ, and a pickle gives an equal one."""
    assert (repr(Child(1)), Child(1) == Base(1), hash(Child(1))) == ("Child(x=1, y=2)", False, hash((1, 2)))
    assert pickle.loads(pickle.dumps(Child(3, 4))) == Child(3, 4)


def fresh(**options: bool) -> Any:
    """A record of which nothing was used yet."""
    namespace = {k: v for k, v in vars(Plain).items() if k not in ("__dict__", "__weakref__")}
    return records.dataclass(**options)(type("Fresh", (), namespace))


@pytest.mark.parametrize("name", ["__init__", "__eq__", "__hash__"])
def test_what_depends_on_fields_is_made_when_it_is_used(name: str) -> None:
    """A class that nobody instantiates compiles nothing; what was made is there for all that come later."""
    cls = fresh(frozen=True, slots=True)
    assert not inspect.isfunction(vars(cls)[name])
    assert inspect.isfunction(getattr(cls, name))
    assert vars(cls)[name] is getattr(cls, name)


@pytest.mark.parametrize("options", [{"frozen": True}, {"frozen": True, "slots": True}], ids=str)
def test_the_first_use_may_be_of_an_object_that_was_not_constructed(options: dict[str, bool]) -> None:
    """A pickle's object has the defaults of the class, compares and is hashed before any other is made."""
    cls = fresh(**options)
    one, same = (cls.__new__(cls) for _ in range(2))
    for made in (one, same):
        for name, value in {"a": 1, "b": 1, "words": (), "hidden": 3, "ignored": 4, "made": (), "late": 5}.items():
            if name != "late" or options.get("slots"):
                object.__setattr__(made, name, value)
    assert (one.late, one == same, hash(one) == hash(same)) == (5, True, True)
    assert copy.copy(one) == one


def test_the_first_use_may_be_through_another_class() -> None:
    """What a class inherits is made for the class that has it, also where the standard library made the other."""
    base: Any = records.dataclass(slots=True)(type("Base", (), {"__annotations__": {"x": "int"}}))
    below: Any = dataclasses.dataclass(type("Below", (base,), {"__annotations__": {"y": "int"}, "__doc__": "Below."}))
    plain = type("Plain", (base,), {})
    assert (repr(plain(1)), repr(below(1, 2))) == ("Plain(x=1)", "Below(x=1, y=2)")
    assert inspect.isfunction(vars(base)["__init__"])
    assert "__init__" not in vars(plain)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_threads_may_use_it_first_at_the_same_time(options: dict[str, bool]) -> None:
    """Each gets what the first one gets."""
    for _ in range(20):
        cls, start = fresh(**options), Barrier(4)

        def use(cls: Any = cls, start: Barrier = start) -> list[str]:
            start.wait()
            return [repr(vars_of(cls(a=1))), *(f.name for f in dataclasses.fields(cls)), *cls.__match_args__]

        with ThreadPoolExecutor(4) as pool:
            assert len({tuple(found.result()) for found in [pool.submit(use) for _ in range(4)]}) == 1


def test_a_class_needs_no_docstring() -> None:
    """The standard library writes one of the signature, for which it asks for ``__init__``."""
    namespace = {k: v for k, v in vars(Plain).items() if k not in ("__dict__", "__weakref__", "__doc__")}
    bare: Any = records.dataclass(type("Bare", (), namespace))
    assert bare(a=1).made == []


def test_a_record_is_replaced_by_its_own_method() -> None:
    """``copy.replace``, from Python 3.13 on, calls ``__replace__``."""
    assert fresh()(a=1).__replace__(a=3).a == 3
