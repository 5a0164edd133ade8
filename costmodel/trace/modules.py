"""The module tree, and which module is running: qualified names, nested calls, hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from threading import get_ident
from types import TracebackType
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from costmodel.errors import InputError
from costmodel.graph import ModuleCall, ModuleInfo, Role, TensorSpec, Told
from costmodel.trace.recorder import Recorder
from costmodel.trace.specs import map_tensors

Capture: TypeAlias = Callable[[nn.Module, Any], Told | None]
"""Takes what the closed forms may know of a module that has just run on the given records of tensors, and nothing that
keeps the module alive. Given by the caller, so that the trace knows no formulas."""


_LAZY = (UninitializedParameter, UninitializedBuffer)


def survey(model: nn.Module, recorder: Recorder) -> list[nn.Module]:
    """Every module, depth first. It is taken into the records by its qualified name, with its parameters and buffers.

    One that is registered under several names is taken once, with each of them; below its further names it is not
    entered again.
    """
    modules: list[nn.Module] = []
    infos = recorder.tape.infos
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        name, module = waiting.pop()
        info = infos.get(id(module))
        if info is not None:
            info.aliases = (*info.aliases, name)
            continue
        modules.append(module)
        parameters, buffers, children = _registered(module.__dict__)
        prefix = name and name + "."
        infos[id(module)] = ModuleInfo(
            name,
            type(module).__name__,
            _taken(parameters, prefix, "parameter", recorder) if parameters else (),
            _taken(buffers, prefix, "buffer", recorder) if buffers else (),
        )
        if children:
            waiting += [(prefix + child, m) for child, m in reversed(children.items()) if m is not None]
    return modules


_registered = itemgetter("_parameters", "_buffers", "_modules")


def _taken(
    tensors: Mapping[str, torch.Tensor | None], prefix: str, role: Role, recorder: Recorder
) -> tuple[TensorSpec, ...]:
    known = recorder.specs
    specs = []
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        spec = known.get(id(tensor))
        if spec is None:
            if type(tensor) in _LAZY:
                raise InputError(
                    f"{prefix + name} has no shape yet, its layer is lazy: run the model once on real input, or build "
                    f"it with explicit sizes"
                )
            spec = recorder.know_own(tensor, role, prefix + name)
        specs.append(spec)
    return tuple(specs)


def home_of(modules: Iterable[nn.Module]) -> str:
    """The type of device that the first parameter or buffer lies on: where the model takes its inputs."""
    for module in modules:
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                return tensor.device.type
    return "cpu"


class Calls:
    """A context in which every module call of this thread is noted, by two global hooks.

    The hooks note as little as they can, between two ops where everything is slow.
    """

    def __init__(self, recorder: Recorder, capture: Capture) -> None:
        self._recorder, self._capture = recorder, capture

    def __enter__(self) -> Calls:
        enter, leave = self._noting()
        self._hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, with_kwargs=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def broken(self) -> list[ModuleCall]:
        """The calls that have begun and not ended, outermost first: where an exception came from."""
        records, index, calls = self._recorder.tape.calls(), self._recorder.module, []
        while index >= 0:
            calls.append(records[index])
            index = records[index].parent
        return calls[::-1]

    def _noting(self) -> tuple[Callable[..., None], Callable[..., None]]:
        thread, recorder, capture = get_ident(), self._recorder, self._capture
        tape, dead, spec_of = recorder.tape, recorder.dead, recorder.specs.get
        begun, ended, noted, info_of = tape.begun, tape.ended, tape.noted, tape.infos.get

        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            if get_ident() != thread:
                return
            if dead:
                recorder.bury()
            spec = spec_of(id(args[0])) if len(args) == 1 else None  # nearly always one tensor that is known
            given = (spec,) if spec is not None else tuple([map_tensors(value, recorder.spec) for value in args])
            within, recorder.module = recorder.module, len(begun)
            begun.append((info_of(id(module)) or type(module).__name__, within, len(noted), given, module.training))

        def leave(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            if get_ident() != thread:
                return
            if dead:
                recorder.bury()
            index = recorder.module
            if begun[index][0] is not info_of(id(module)):
                index = self._left(module)
            call = begun[index]
            recorder.module = call[1]
            given = map_tensors(kwargs, recorder.spec) if kwargs else None
            spec = spec_of(id(output))
            told = capture(module, (call[3], given))
            ended[index] = len(noted), given, spec if spec is not None else map_tensors(output, recorder.spec), told

        return enter, leave

    def _left(self, module: nn.Module) -> int:
        """The call of a module that ends now: not the innermost, if the model went on after one inside had raised."""
        tape, index = self._recorder.tape, self._recorder.module
        known = tape.infos.get(id(module)) or type(module).__name__
        while tape.begun[index][0] != known and tape.begun[index][1] >= 0:
            index = tape.begun[index][1]
        return index
