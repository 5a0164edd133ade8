"""Every layer type with a closed form: which attributes are hyper-parameters, and which formula they go to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from costmodel.formulas import LayerCost
from costmodel.graph import ModuleCall, TensorSpec, tensors_in

Price = Callable[["Call"], LayerCost | None]


@dataclass(frozen=True, slots=True)
class Call:
    """What a closed form may know: hyper-parameters (``call["kernel_size"]``) and how the layer was called."""

    hyper: Mapping[str, Any]
    record: ModuleCall

    def __getitem__(self, name: str) -> Any:
        return self.hyper[name]

    @property
    def inputs(self) -> list[TensorSpec]:
        """The tensors that the layer was given, in order."""
        return list(tensors_in((self.record.args, self.record.kwargs)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first of them."""
        return self.inputs[0].shape

    @property
    def training(self) -> bool:
        """Whether the layer ran in training mode."""
        return self.record.training


@dataclass(frozen=True, slots=True)
class Layer:
    """How a layer type is priced in closed form."""

    hyper: tuple[str, ...]
    """Attributes that are hyper-parameters."""
    present: tuple[str, ...]
    """Attributes of which only the presence counts: ``bias``, ``weight``."""
    price: Price
    kind: str = ""


LAYERS: dict[type[nn.Module], Layer] = {}
"""Every layer type with a closed form."""

_BY_NAME: dict[str, Layer] = {}
"""The same by the type's name, which is what the record of a call has."""

USER_LAYERS: dict[type[nn.Module], Callable[[nn.Module, tuple[int, ...]], LayerCost]] = {}
"""Those that users added."""


def add(*types: type[nn.Module], hyper: str = "", present: str = "", price: Price, kind: str = "") -> None:
    """Enters layer types with the names of their attributes, apart by spaces."""
    for t in types:
        LAYERS[t] = _BY_NAME[t.__name__] = Layer(tuple(hyper.split()), tuple(present.split()), price, kind)


def price(call: ModuleCall) -> LayerCost | None:
    """The closed form's cost of a call, ``None`` where it has none for these arguments."""
    if call.layer is None:
        return None
    if "cost" in call.layer.hyper:
        cost: LayerCost = call.layer.hyper["cost"]
        return cost
    if any(0 in t.shape or t.distinct != t.size for t in tensors_in((call.args, call.kwargs, call.outputs))):
        return (
            None  # formulas are of at least one element, and of elements that all lie in memory: not of expanded ones
        )
    return _BY_NAME[call.layer.key].price(Call(call.layer.hyper, call))
