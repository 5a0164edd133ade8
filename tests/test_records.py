"""``records.dataclass`` does what ``dataclasses.dataclass`` does, for every dataclass of the library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import field
from typing import Any, ClassVar

import pytest

from costmodel import records

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
NAN = float("nan")


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
