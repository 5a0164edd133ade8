"""What is traced: a module's forward, another method of a module, or a plain function and the modules that it uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

from costmodel.errors import InputError
from costmodel.inputs import Call
from costmodel.records import dataclass
from costmodel.torch_private import FORWARD_HOOKS, FORWARD_PRE_HOOKS


@dataclass(frozen=True)
class Target:
    """A module, and what of it is called."""

    module: nn.Module
    name: str
    """In reports: the module's class, with the method where that is not its forward; or the function's name."""
    method: Callable[..., Any] | None = None
    """What is called in the place of the module."""

    @property
    def forward(self) -> Callable[..., Any]:
        """Whose signature the inputs must fit."""
        return self.module.forward if self.method is None else self.method


def target_of(model: Any) -> Target:
    """What is traced where ``model`` is given: a module, an exported program, a method of a module, any callable."""
    if isinstance(model, nn.Module):
        return Target(model, type(model).__name__)
    exported = sys.modules.get("torch.export")
    if exported is not None and isinstance(model, exported.ExportedProgram):
        module = model.module()
        if model.example_inputs is not None:
            args, kwargs = model.example_inputs
            vars(module)["example_inputs"] = Call(tuple(args), kwargs)
        return Target(module, type(model).__name__)
    if isinstance(model, MethodType) and isinstance(model.__self__, nn.Module):
        module, name = model.__self__, type(model.__self__).__name__
        has_hooks = any(vars(module).get(hooks) for hooks in (FORWARD_PRE_HOOKS, FORWARD_HOOKS))
        if model.__name__ == "forward" and not has_hooks:
            return Target(module, name)
        return Target(module, f"{name}.{model.__name__}", model)
    if callable(model) and not isinstance(model, type):
        return _function(model)
    given = f"{type(model).__name__}: {model!r:.80}"
    if isinstance(model, type) and issubclass(model, nn.Module):
        given = f"its class: make one, {model.__name__}(...)"
    raise InputError(f"costmodel prices a torch.nn.Module, a method of one or a function, not {given}")


class _Function(nn.Module):
    """A function as a module, with the modules and parameters that it uses as its own."""

    def __init__(self, function: Callable[..., Any], used: Mapping[str, nn.Module | nn.Parameter]) -> None:
        super().__init__()
        for name, value in used.items():
            if isinstance(value, nn.Module):
                self.add_module(name, value)
            else:
                self.register_parameter(name, value)
        self.__dict__["forward"] = function


def _function(function: Callable[..., Any]) -> Target:
    used: dict[str, nn.Module | nn.Parameter] = {}
    known: set[int] = set()
    for name, value in _used(function):
        if id(value) not in known:
            known.add(id(value))
            used[_free(name, used)] = value
    inner = function
    while isinstance(inner, partial):
        inner = inner.func
    name = getattr(inner, "__name__", type(inner).__name__).strip("<>")
    home = {"__module__": getattr(inner, "__module__", None) or __name__}  # whose random generators it may use
    return Target(type(name, (_Function,), home)(function, used), name)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """A name for a submodule, which may have no dot and must not be an attribute of every module."""
    free, number = name.replace(".", "_") or "_", 1
    while free in taken or hasattr(nn.Module, free) or free in ("forward", "training"):
        number += 1
        free = f"{name}_{number}"
    return free


def _used(function: Callable[..., Any]) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """The modules and parameters that a function can reach by name, each with that name.

    They are sought in its closure, its defaults, the global variables that its code names, the arguments of a partial,
    the attributes of the object that it is a method of, in lists, tuples and dicts among those, and in the functions
    of the same file among those.
    """
    home = getattr(function, "__module__", None)
    seen: dict[int, Any] = {}
    waiting: list[tuple[str, Any]] = [(getattr(function, "__name__", ""), function)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, (nn.Module, nn.Parameter)):
            yield name, value
        elif isinstance(value, FunctionType):
            if value.__module__ == home or value is function:
                waiting += reversed(list(_variables(value)))
        elif isinstance(value, MethodType):
            waiting += [("self", value.__self__), (name, value.__func__)]
        elif isinstance(value, partial):
            waiting += [(name, value.func), (name, value.args), (name, value.keywords)]
        elif isinstance(value, dict):
            waiting += [(key if isinstance(key, str) else f"{name}_{key}", item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{name}_{i}", item) for i, item in enumerate(value)]
        elif type(value).__module__ == home and not isinstance(value, type):
            waiting += list(getattr(value, "__dict__", {}).items())
            called = getattr(type(value), "__call__", None)  # noqa: B004  # the function itself, to read its variables
            if isinstance(called, FunctionType):
                waiting.append((name, called))


def _variables(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The values that a function's code can name: its closure, defaults and global variables."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _global_names(code: CodeType) -> Iterator[str]:
    """The names of global variables and attributes in code and in the functions that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)
