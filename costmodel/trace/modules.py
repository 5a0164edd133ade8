"""The module tree, by qualified names, with every parameter and buffer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import torch
from torch import nn

from costmodel.errors import InputError
from costmodel.graph import ModuleInfo, TensorSpec
from costmodel.torch_private import registered_in_dict, registered_on, script_attributes
from costmodel.trace.packed import is_packed
from costmodel.trace.tensor_table import LAZY, TensorTable


def register_module_tree(model: nn.Module, table: TensorTable) -> tuple[list[nn.Module], list[torch.Tensor]]:
    """Adds every module, parameter and buffer to the records; returns the modules, depth first, and the tensors.

    A module that is registered under several names is added once, with each of them, and what is below it under the
    first. Tensors that several modules share are listed several times, and those of lazy modules not at all.
    """
    modules: list[nn.Module] = []
    tensors: list[torch.Tensor | None] = []
    infos = table.log.modules_by_id
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    of_torch: dict[type[nn.Module], bool] = {}
    while waiting:
        name, module = waiting.pop()
        info = infos.get(id(module))
        if info is not None:
            info.aliases = (*info.aliases, name)
            continue
        modules.append(module)
        try:
            parameters, buffers, children = registered_in_dict(module.__dict__)
        except KeyError:  # a module of torch.jit.trace's, which asks another for them
            try:
                parameters, buffers, children = registered_on(module)
            except AttributeError as error:
                raise InputError(
                    f"{name or 'the model'} ({type(module).__name__}) is no whole module: its __init__ does not call "
                    f"super().__init__()"
                ) from error
        kind = type(module)
        info = infos[id(module)] = ModuleInfo(name, kind.__name__, (), ())
        is_torchs = of_torch.get(kind)
        if is_torchs is None:
            is_torchs = of_torch[kind] = is_of_torch(kind)
        if parameters or buffers or children or not is_torchs:  # half of a network's modules are activations
            prefix = name and name + "."
            if parameters:
                info.parameters = table.add_registered(parameters, prefix, "parameter")
                tensors += parameters.values()
            if buffers:
                info.buffers = table.add_registered(buffers, prefix, "buffer")
                tensors += buffers.values()
            if not is_torchs and _may_hold_packed(module):
                info.parameters += tuple(_packed_in(module, prefix, table))
            if children:
                waiting += [(prefix + child, m) for child, m in reversed(children.items()) if m is not None]
    found = [tensor for tensor in tensors if tensor is not None]
    return modules, [tensor for tensor in found if type(tensor) not in LAZY] if table.has_lazy else found


def _may_hold_packed(module: nn.Module) -> bool:
    return _SCRIPT_OBJECT in map(type, module.__dict__.values()) or isinstance(module, _SCRIPT_MODULE)


def hold_packed(modules: Iterable[nn.Module]) -> bool:
    """Whether any of the modules may hold packed weights as attributes; torch.jit's modules apart."""
    return _SCRIPT_OBJECT in map(type, chain.from_iterable([module.__dict__.values() for module in modules]))


def is_of_torch(kind: type[nn.Module]) -> bool:
    """Whether a class of modules is one of torch.nn's."""
    return kind.__module__.startswith("torch.nn.")


_SCRIPT_OBJECT, _SCRIPT_MODULE = torch.ScriptObject, torch.jit.ScriptModule


_PACKED_NAMES = ("_packed_params", "_packed_weight", "_packed_weight_ih", "_packed_weight_hh", "param")
"""What torch's own modules call their packed weights: those of torch.jit have attributes that nothing lists."""


def _packed_in(module: nn.Module, prefix: str, table: TensorTable) -> Iterator[TensorSpec]:
    """The tensors in the packed weights that are attributes of a module."""
    in_cpp = script_attributes(module, _PACKED_NAMES) if isinstance(module, torch.jit.ScriptModule) else {}
    for name, value in {**vars(module), **in_cpp}.items():
        if is_packed(value):
            yield from table.add_packed(value, "parameter", prefix + name)
