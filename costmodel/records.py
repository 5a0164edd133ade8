"""``dataclass``, as ``dataclasses`` has it, where a class is made in a twentieth of the time.

The standard one compiles each method of each class: 0.5 ms a frozen class, and a first table has 95, of which half are
never instantiated. This one makes what depends on the fields when it is first used: ``__init__``, which is compiled,
and what compares and hashes. The other methods are functions that all classes share.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import inspect
    from _thread import RLock
    from collections.abc import Callable
    from operator import attrgetter
    from reprlib import recursive_repr
    from types import FunctionType
    from typing import Any

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """Makes a class a dataclass, with the options of ``dataclasses.dataclass`` that the library uses."""
        return (lambda cls: _made(cls, **options)) if cls is None else _made(cls, **options)

    def _made(
        declared: type, *, frozen: bool = False, eq: bool = True, unsafe_hash: bool = False, slots: bool = False,
        kw_only: bool = False, **options: bool,
    ) -> type:  # fmt: skip
        """``declared``, or a class in its place that has slots."""

        def described(name: str) -> Any:
            with _LOCK:
                if not isinstance(vars(declared).get("__dataclass_fields__"), dict):
                    dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(declared)
                return vars(declared)[name]

        def key() -> Callable[[Any], tuple[Any, ...]]:
            return _key([f.name for f in _fields(cls) if f.compare])

        now: dict[str, Any] = {"__replace__": _replace, "__declared__": (declared, kw_only)}
        later: dict[str, Callable[[], Any]] = {
            "__dataclass_fields__": lambda: described("__dataclass_fields__"),
            "__dataclass_params__": lambda: described("__dataclass_params__"),
            "__match_args__": lambda: tuple(f.name for f in _fields(cls) if f.init and not f.kw_only),
            "__init__": lambda: _init(cls, frozen=frozen, slots=slots),
        }
        if options.get("repr", True):
            now["__repr__"] = _repr
        if eq:
            later["__eq__"] = lambda: _eq(key())
            if frozen or unsafe_hash:
                later["__hash__"] = lambda: _hash(key())
            else:
                now["__hash__"] = None
        if frozen:
            now |= {"__setattr__": _set_frozen, "__delattr__": _delete_frozen}
            if slots:
                now |= {"__getstate__": _state, "__setstate__": _set_state}
        made = now | {name: _Later(name, make) for name, make in later.items()}
        added = {name: value for name, value in made.items() if name not in vars(declared)}
        cls = _slotted(declared, added) if slots else declared
        if not slots:
            for name, value in added.items():
                setattr(cls, name, value)
            if any(isinstance(value, dataclasses.Field) for value in vars(cls).values()):
                dataclasses.fields(cls)  # puts defaults in the place of these
        return cls

    class _Later:
        """What a class has under a name, made when it is first looked up."""

        def __init__(self, name: str, make: Callable[[], Any]) -> None:
            self.name, self.make = name, make

        def __get__(self, instance: Any, owner: type) -> Any:
            made = self.make()
            for cls in owner.__mro__:
                if vars(cls).get(self.name) is self:
                    setattr(cls, self.name, made)
            return made.__get__(instance, owner) if isinstance(made, FunctionType) else made

    _LOCK = RLock()

    def _fields(cls: type) -> list[dataclasses.Field[Any]]:
        """As ``dataclasses.fields``, which describes the class first, in a quarter of the time."""
        found: dict[str, dataclasses.Field[Any]] = {}
        for base in reversed(cls.__mro__):
            described = vars(base).get("__dataclass_fields__")
            if isinstance(described, dict):
                found |= {f.name: f for f in dataclasses.fields(base)}
            elif described is not None:
                declared, kw_only = vars(base)["__declared__"]
                for name, kind in _annotated(declared):
                    default = vars(declared).get(name, dataclasses.MISSING)
                    f = default if isinstance(default, dataclasses.Field) else dataclasses.field(default=default)
                    f.name, f.type = name, kind
                    if f.kw_only is dataclasses.MISSING:
                        f.kw_only = kw_only
                    found[name] = f
        return list(found.values())

    def _annotated(cls: type) -> list[tuple[str, Any]]:
        """The fields that a class itself has, with their types."""
        kinds = inspect.get_annotations(cls).items()
        return [(name, kind) for name, kind in kinds if not str(kind).startswith("ClassVar")]

    def _slotted(declared: type, added: dict[str, Any]) -> type:
        """The class with slots for its fields, in the place of their defaults, and with what is added."""
        names = [name for name, _ in _annotated(declared)]
        inherited = {slot for base in declared.__mro__[1:] for slot in vars(base).get("__slots__", ())}
        left_out = {*names, "__dict__", "__weakref__"}
        body = {name: value for name, value in vars(declared).items() if name not in left_out}
        body |= added
        body["__slots__"] = tuple(name for name in names if name not in inherited)
        cls = type(declared)(declared.__name__, declared.__bases__, body)
        cls.__qualname__ = declared.__qualname__
        return cls

    class _Missing:
        def __repr__(self) -> str:
            return "<factory>"  # in a signature

    _MISSING = _Missing()

    def _init(cls: type, *, frozen: bool, slots: bool) -> Callable[..., None]:
        names: dict[str, Any] = {"_set": object.__setattr__, "_missing": _MISSING}
        positional, keywords, lines = [], [], []
        fields = _fields(cls)
        for f in fields:
            name, value = f.name, f.name
            if f.default_factory is not dataclasses.MISSING:
                names[f"_make_{name}"] = f.default_factory
                value = f"_make_{name}() if {name} is _missing else {name}" if f.init else f"_make_{name}()"
                default = "=_missing"
            elif f.default is not dataclasses.MISSING:
                names[f"_default_{name}"] = f.default
                default = f"=_default_{name}"
                if not f.init:
                    if not slots:
                        continue  # the class has it
                    value = f"_default_{name}"
            elif f.init:
                default = ""
            else:
                continue
            if f.init:
                (keywords if f.kw_only else positional).append(name + default)
            lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        parameters = ", ".join(["self", *positional, *(["*", *keywords] if keywords else [])])
        exec("\n ".join([f"def __init__({parameters}):", *(lines or ["pass"])]), names)
        init = names["__init__"]
        init.__annotations__ = {f.name: f.type for f in fields if f.init} | {"return": None}
        init.__qualname__, init.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
        return init

    def _key(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
        """Gives the values of the names, as a tuple."""
        if len(names) > 1:
            return attrgetter(*names)
        return lambda self: tuple([getattr(self, name) for name in names])

    def _eq(key: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any, Any], Any]:
        def equals(self: Any, other: Any) -> Any:
            return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

        return equals

    def _hash(key: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], int]:
        return lambda self: hash(key(self))

    @recursive_repr()
    def _repr(self: Any) -> str:
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _replace(self: Any, /, **changes: Any) -> Any:
        return dataclasses.replace(self, **changes)  # for copy.replace

    def _set_frozen(_self: Any, name: str, _value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _delete_frozen(_self: Any, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _state(self: Any) -> list[Any]:
        return [getattr(self, f.name) for f in dataclasses.fields(self)]

    def _set_state(self: Any, state: list[Any]) -> None:
        for f, value in zip(dataclasses.fields(self), state, strict=True):
            object.__setattr__(self, f.name, value)
