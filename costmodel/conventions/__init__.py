"""Every other tool's number for a model, from one more trace of it, and why it differs. One file a tool.

>>> import costmodel
>>> model = costmodel.models.resnet18()
>>> recount = costmodel.profile(model, (1, 3, 224, 224)).counted_as("FlopCounterMode")
>>> recount.total, recount.unit
(3628146688, 'FLOPs')
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.conventions.calflops import CALFLOPS
from costmodel.conventions.deepspeed import DEEPSPEED
from costmodel.conventions.flop_counter import FLOP_COUNTER
from costmodel.conventions.fvcore import FVCORE
from costmodel.conventions.ptflops import PTFLOPS
from costmodel.conventions.ptflops_aten import PTFLOPS_ATEN
from costmodel.conventions.recount import Recount, recount
from costmodel.conventions.thop import THOP
from costmodel.conventions.tool import Tool, ToolFailsError
from costmodel.conventions.torchinfo import TORCHINFO
from costmodel.conventions.ultralytics_thop import ULTRALYTICS_THOP
from costmodel.errors import CostModelError, InputError
from costmodel.origin import OWN, Origin

if TYPE_CHECKING:
    from costmodel.reading import Reading

__all__ = ["TOOLS", "Readings", "Recount", "Tool"]

_ALL = (FVCORE, FLOP_COUNTER, PTFLOPS, PTFLOPS_ATEN, THOP, ULTRALYTICS_THOP, TORCHINFO, CALFLOPS, DEEPSPEED)

TOOLS: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in _ALL})
"""The tools whose conventions are known, by name, each with the version whose source was read."""


_FUNCTIONS = tuple(dict.fromkeys(name for tool in _ALL for name in tool.functions))
"""The Python functions that any of them counts."""


class Readings:
    """What other tools look at in a model: read when it is first asked for, once for each mode."""

    def __init__(self, name: str, origin: Origin | None, mode: str, macs: int) -> None:
        self._name, self._origin, self._mode, self._macs = name, origin, mode, macs
        self._known: dict[str, Reading] = {}

    def counted_as(self, name: str) -> Recount:
        """What a tool prints.

        Raises ``InputError`` for the name of no tool, ``ToolFailsError`` where the tool fails on the model, and
        ``CostModelError`` where the model is gone.
        """
        tool = TOOLS.get(name) if isinstance(name, str) else None
        if tool is None:
            raise InputError(f"{short(name)} is no tool whose convention is known; there are {', '.join(TOOLS)}")
        reading = self._read(tool.mode or self._mode, f"what {name} counts")
        try:
            return recount(tool, reading, self._name, self._macs)
        except ToolFailsError as error:
            raise ToolFailsError(f"{name} {tool.version} fails: {error}") from error

    def _read(self, mode: str, what: str) -> Reading:
        known = self._known.get(mode)
        if known is None:
            known = self._known[mode] = _read(self._origin, mode, what)
        return known


def _read(origin: Origin | None, mode: str, what: str) -> Reading:
    if origin is None:
        raise CostModelError(f"{what} is read off the model, which a saved profile does not have: profile it again")

    def read(model: Any) -> Reading:
        from costmodel.trace.reading import read

        return read(model, origin.inputs, functions=_FUNCTIONS, **{**origin.options, "mode": mode})

    if origin.spec is not None:
        from costmodel.loading import apply

        return apply(read, origin.spec, weights=origin.options["execution"] == "real")
    model = origin.model()
    if model is None:
        raise CostModelError(
            f"{what} is read off the model, which a profile does not keep alive, and which is gone: hold it in a "
            f"variable while you ask"
        )
    if origin.inputs is OWN:
        raise CostModelError(
            f"{what} is read off the model once more, and a profile does not keep inputs that are objects of your own: "
            f"give shapes or tensors"
        )
    return read(model)
