"""The module tree, and which module is running: qualified names, nested calls, hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import get_ident
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from costmodel.errors import InputError
from costmodel.graph import ModuleCall, ModuleInfo, Role, TensorSpec
from costmodel.trace.recorder import Recorder
from costmodel.trace.specs import map_tensors
from costmodel.trace.tape import Told

Capture = Callable[[nn.Module, Any], Told | None]
"""Takes what the closed forms may know of a module that has just run on the given records of tensors, and nothing that
keeps the module alive. Given by the caller, so that the trace knows no formulas."""


_LAZY = (UninitializedParameter, UninitializedBuffer)


def named_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module, depth first; one that is registered under several names comes once with each of them.

    Below its further names a shared module is not entered again.
    """
    found: list[tuple[str, nn.Module]] = []
    seen: set[int] = set()
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        name, module = named = waiting.pop()
        found.append(named)
        children = module._modules
        if not children or id(module) in seen:
            continue
        seen.add(id(module))
        prefix = name and name + "."
        waiting += [(prefix + child, m) for child, m in reversed(children.items()) if m is not None]
    return found


def home_of(modules: Iterable[nn.Module]) -> str:
    """The type of device that the first parameter or buffer lies on: where the model takes its inputs."""
    for module in modules:
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                return tensor.device.type
    return "cpu"


def tree_taken(named: Iterable[tuple[str, nn.Module]], recorder: Recorder) -> None:
    """Takes every module of a model by its qualified names, its parameters and buffers, into the records."""
    infos, known = recorder.tape.infos, recorder.specs

    def taken(tensors: Mapping[str, torch.Tensor | None], prefix: str, role: Role) -> tuple[TensorSpec, ...]:
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
                spec = recorder.know_own(tensor, role, prefix + name)
            specs.append(spec)
        return tuple(specs)

    for name, module in named:
        info = infos.get(id(module))
        if info is not None:  # registered a second time under another name
            info.aliases = (*info.aliases, name)
            continue
        parameters, buffers = module._parameters, module._buffers
        prefix = name and name + "."
        infos[id(module)] = ModuleInfo(
            name,
            type(module).__name__,
            taken(parameters, prefix, "parameter") if parameters else (),
            taken(buffers, prefix, "buffer") if buffers else (),
        )


class Calls:
    """A context in which every module call of this thread is noted, by two global hooks.

    The hooks note as little as they can, between two ops where everything is slow.
    """

    def __init__(self, recorder: Recorder, capture: Capture) -> None:
        self._recorder, self._capture = recorder, capture
        self._open: list[int] = [-1]

    def __enter__(self) -> Calls:
        enter, leave = self._noting()
        self._hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, with_kwargs=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def broken(self) -> list[ModuleCall]:
        """The calls that have begun and not ended, outermost first: where an exception came from."""
        records = self._recorder.tape.calls()
        return [records[index] for index in self._open[1:]]

    def _noting(self) -> tuple[Callable[..., None], Callable[..., None]]:
        thread, recorder, capture, stack = get_ident(), self._recorder, self._capture, self._open
        tape, dead, spec_of = recorder.tape, recorder.dead, recorder.specs.get
        begun, ended, noted, info_of = tape.begun, tape.ended, tape.noted, tape.infos.get

        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            if get_ident() != thread:
                return
            if dead:
                recorder.bury()
            spec = spec_of(id(args[0])) if len(args) == 1 else None  # nearly always one tensor that is known
            given = (spec,) if spec is not None else tuple([map_tensors(value, recorder.spec) for value in args])
            index = recorder.module = len(begun)
            begun.append((
                info_of(id(module)) or type(module).__name__, stack[-1], len(noted), given, module.training
            ))  # fmt: skip
            stack.append(index)

        def leave(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            if get_ident() != thread:
                return
            if dead:
                recorder.bury()
            index = stack.pop()
            recorder.module = stack[-1]
            given = map_tensors(kwargs, recorder.spec) if kwargs else None
            spec = spec_of(id(output))
            ended[index] = (
                len(noted),
                given,
                spec if spec is not None else map_tensors(output, recorder.spec),
                capture(module, (begun[index][3], given)),
            )

        return enter, leave
