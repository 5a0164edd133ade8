"""The module tree, and which module is running: qualified names, nested calls, hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from costmodel.graph import LayerSpec, ModuleCall, ModuleInfo, TensorSpec
from costmodel.trace.recorder import Recorder
from costmodel.trace.specs import map_tensors

Capture = Callable[[nn.Module, ModuleCall], LayerSpec | None]
"""What the closed forms may know of a module: given by the caller, so that the trace knows no formulas."""


class Tree:
    """Every module of a model by its qualified names, its parameters and buffers taken into the records."""

    def __init__(self, model: nn.Module, recorder: Recorder) -> None:
        self.modules: dict[str, ModuleInfo] = {}
        self._names: dict[int, list[str]] = {}
        self._specs: dict[int, TensorSpec] = {}
        self._walk(model, "", recorder)

    def _walk(self, module: nn.Module, name: str, recorder: Recorder) -> None:
        names = self._names.get(id(module))
        if names is not None:  # registered a second time under another name
            names.append(name)
            first = self.modules[names[0]]
            first.aliases = (*first.aliases, name)
            return
        self._names[id(module)] = [name]
        prefix = name and name + "."
        self.modules[name] = ModuleInfo(
            name,
            type(module).__name__,
            self._take(module._parameters, prefix, recorder, "parameter"),
            self._take(module._buffers, prefix, recorder, "buffer"),
        )
        for child_name, child in module._modules.items():
            if child is not None:
                self._walk(child, prefix + child_name, recorder)

    def _take(
        self, tensors: Mapping[str, torch.Tensor | None], prefix: str, recorder: Recorder, role: Any
    ) -> tuple[TensorSpec, ...]:
        specs = []
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            spec = self._specs.get(id(tensor))
            if spec is None:
                spec = self._specs[id(tensor)] = recorder.know(tensor, role, prefix + name)
            specs.append(spec)
        return tuple(specs)

    def name(self, module: nn.Module, parent: str) -> str:
        """The qualified name under which ``parent`` called the module; one it hides from the tree is put in <>."""
        names = self._names.get(id(module))
        if names is None:
            return f"{parent and parent + '.'}<{type(module).__name__}>"
        if len(names) > 1:
            for name in names:
                if name.startswith(parent + "."):
                    return name
        return names[0]

    def owner(self, module: nn.Module) -> str | None:
        """The first name of the module, under which ``modules`` lists it."""
        names = self._names.get(id(module))
        return names[0] if names else None


class Calls:
    """A context in which every module call of this thread is written down, by two global hooks."""

    def __init__(self, tree: Tree, recorder: Recorder, capture: Capture) -> None:
        self.calls: list[ModuleCall] = []
        self._stack: list[ModuleCall] = []
        self._tree, self._recorder, self._capture = tree, recorder, capture

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

    @property
    def broken(self) -> list[ModuleCall]:
        """The calls that had begun and not ended, outermost first: where an exception came from."""
        return self._stack

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if get_ident() != self._thread:
            return
        recorder = self._recorder
        parent = self._stack[-1] if self._stack else None
        index = len(self.calls)
        call = ModuleCall(
            index,
            self._tree.name(module, parent.name if parent else ""),
            type(module).__name__,
            parent.index if parent else -1,
            len(recorder.ops),
            map_tensors(args, recorder.spec),
            training=module.training,
            owner=self._tree.owner(module),
        )
        if parent is not None:
            parent.has_calls = True
        self.calls.append(call)
        self._stack.append(call)
        recorder.module = index

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if get_ident() != self._thread:
            return
        recorder = self._recorder
        call = self._stack.pop()
        call.end_op = len(recorder.ops)
        if kwargs:
            call.kwargs = map_tensors(kwargs, recorder.spec)
        call.outputs = map_tensors(output, recorder.spec)
        call.layer = self._capture(module, call)
        recorder.module = call.parent
