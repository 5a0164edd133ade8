"""The module tree, by qualified names, with every parameter and buffer."""

from __future__ import annotations

from operator import attrgetter, itemgetter

import torch
from torch import nn

from costmodel.errors import InputError
from costmodel.graph import ModuleInfo
from costmodel.trace.recorder import Recorder


def survey(model: nn.Module, recorder: Recorder) -> tuple[list[nn.Module], list[torch.Tensor]]:
    """Every module, depth first, and every parameter and buffer. They are taken into the records by qualified name.

    A module that is registered under several names is taken once, with each of them; below its further names it is not
    entered again. Tensors that several modules share are listed several times.
    """
    modules: list[nn.Module] = []
    tensors: list[torch.Tensor | None] = []
    infos = recorder.tape.infos
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        name, module = waiting.pop()
        info = infos.get(id(module))
        if info is not None:
            info.aliases = (*info.aliases, name)
            continue
        modules.append(module)
        try:
            parameters, buffers, children = _registered_in(module.__dict__)
        except KeyError:  # a module of torch.jit.trace's, which asks another for them
            try:
                parameters, buffers, children = _registered(module)
            except AttributeError as error:
                raise InputError(
                    f"{name or 'the model'} ({type(module).__name__}) is no whole module: its __init__ does not call "
                    f"super().__init__()"
                ) from error
        prefix = name and name + "."
        infos[id(module)] = ModuleInfo(
            name,
            type(module).__name__,
            recorder.know_own(parameters, prefix, "parameter") if parameters else (),
            recorder.know_own(buffers, prefix, "buffer") if buffers else (),
        )
        tensors += parameters.values()
        tensors += buffers.values()
        if children:
            waiting += [(prefix + child, m) for child, m in reversed(children.items()) if m is not None]
    return modules, [tensor for tensor in tensors if tensor is not None]


_registered_in = itemgetter("_parameters", "_buffers", "_modules")
_registered = attrgetter("_parameters", "_buffers", "_modules")
