"""The module tree, and which module is running: qualified names, nested calls, hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import get_ident
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from costmodel.errors import InputError
from costmodel.graph import LayerSpec, ModuleCall, ModuleInfo, TensorSpec
from costmodel.trace.recorder import Recorder
from costmodel.trace.specs import map_tensors

Told = Callable[[ModuleCall], LayerSpec | None]
Capture = Callable[[nn.Module, Any], Told | None]
"""Takes what the closed forms may know of a module that has just run on the given records of tensors, and nothing that
keeps the module alive. Given by the caller, so that the trace knows no formulas."""


_LAZY = (UninitializedParameter, UninitializedBuffer)


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module, depth first; one that is registered under several names comes once with each of them.

    Below its further names a shared module is not entered again.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        name, module = waiting.pop()
        yield name, module
        if id(module) in seen:
            continue
        seen.add(id(module))
        if module._modules:
            prefix = name and name + "."
            children = [(prefix + child, m) for child, m in module._modules.items() if m is not None]
            waiting.extend(reversed(children))


def home_of(modules: Iterable[nn.Module]) -> str:
    """The type of device that the first parameter or buffer lies on: where the model takes its inputs."""
    for module in modules:
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                return tensor.device.type
    return "cpu"


class Tree:
    """Every module of a model by its qualified names, its parameters and buffers taken into the records."""

    def __init__(self, named: Iterable[tuple[str, nn.Module]], recorder: Recorder) -> None:
        self.modules: dict[str, ModuleInfo] = {}
        self._names: dict[int, list[str]] = {}
        self._specs: dict[int, TensorSpec] = {}
        for name, module in named:
            names = self._names.get(id(module))
            if names is not None:  # registered a second time under another name
                names.append(name)
                first = self.modules[names[0]]
                first.aliases = (*first.aliases, name)
                continue
            self._names[id(module)] = [name]
            prefix = name and name + "."
            self.modules[name] = ModuleInfo(
                name,
                type(module).__name__,
                self._take(module._parameters, prefix, recorder, "parameter"),
                self._take(module._buffers, prefix, recorder, "buffer"),
            )

    def _take(
        self, tensors: Mapping[str, torch.Tensor | None], prefix: str, recorder: Recorder, role: Any
    ) -> tuple[TensorSpec, ...]:
        if not tensors:
            return ()
        known = self._specs
        specs = []
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            spec = known.get(id(tensor))
            if spec is None:
                if type(tensor) in _LAZY:
                    raise InputError(
                        f"{prefix + name} has no shape yet, its layer is lazy: run the model once on real input, or "
                        f"build it with explicit sizes"
                    )
                spec = known[id(tensor)] = recorder.know_own(tensor, role, prefix + name)
            specs.append(spec)
        return tuple(specs)

    def names_of(self, module: nn.Module) -> list[str]:
        """The qualified names under which a module is registered: none where the model hides it in a plain list."""
        return self._names.get(id(module), _HIDDEN)


_HIDDEN: list[str] = []


def _called_as(names: list[str], kind: str, parent: str) -> tuple[str, str | None]:
    """The name under which ``parent`` called a module, and its first, by which ``Graph.modules`` lists it.

    A hidden module's type is put in <>, and it is not listed.
    """
    if not names:
        return f"{parent and parent + '.'}<{kind}>", None
    if len(names) > 1:
        for name in names:
            if name.startswith(parent + "."):
                return name, names[0]
    return names[0], names[0]


class Calls:
    """A context in which every module call of this thread is noted, by two global hooks.

    The hooks note as little as they can, between two ops where everything is slow; ``records`` makes records of it.
    """

    def __init__(self, tree: Tree, recorder: Recorder, capture: Capture) -> None:
        self._tree, self._recorder, self._capture = tree, recorder, capture
        self._begun: list[tuple[list[str], str, int, int, tuple[Any, ...], bool]] = []
        """Of each call, in order: names, type, index of the enclosing call, first op, arguments, mode."""
        self._ended: dict[int, tuple[int, Mapping[str, Any] | None, Any, Told | None]] = {}
        """By index: end op, keyword arguments, outputs, what was captured."""
        self._open: list[int] = [-1]

    def __enter__(self) -> Calls:
        self._thread = get_ident()
        self._hooks = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def records(self) -> list[ModuleCall]:
        """Every call in the order in which they began."""
        calls: list[ModuleCall] = []
        for index, (names, kind, parent, first_op, args, training) in enumerate(self._begun):
            within = ""
            if parent >= 0:
                calls[parent].has_calls = True
                within = calls[parent].name
            name, owner = _called_as(names, kind, within)
            call = ModuleCall(index, name, kind, parent, first_op, owner, training, args)
            calls.append(call)
            if index in self._ended:
                call.end_op, kwargs, call.outputs, told = self._ended[index]
                if kwargs is not None:
                    call.kwargs = kwargs
                if told is not None:
                    call.layer = told(call)
        return calls

    def broken(self) -> list[ModuleCall]:
        """The calls that have begun and not ended, outermost first: where an exception came from."""
        records = self.records()
        return [records[index] for index in self._open[1:]]

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if get_ident() != self._thread:
            return
        recorder, begun, stack = self._recorder, self._begun, self._open
        spec = recorder.specs.get(id(args[0])) if len(args) == 1 else None  # nearly always one tensor that is known
        given = (spec,) if spec is not None else tuple([map_tensors(value, recorder.spec) for value in args])
        index = recorder.module = len(begun)
        names, kind = self._tree.names_of(module), type(module).__name__
        begun.append((names, kind, stack[-1], len(recorder.ops), given, module.training))
        stack.append(index)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if get_ident() != self._thread:
            return
        recorder, stack = self._recorder, self._open
        index = stack.pop()
        recorder.module = stack[-1]
        spec = recorder.specs.get(id(output))
        given = map_tensors(kwargs, recorder.spec) if kwargs else None
        self._ended[index] = (
            len(recorder.ops),
            given,
            spec if spec is not None else map_tensors(output, recorder.spec),
            self._capture(module, (self._begun[index][4], given)),
        )
