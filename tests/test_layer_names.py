"""Layers are registered by the names of their classes, so that a saved profile is checked without torch."""

from __future__ import annotations

import pytest
from torch import nn

from costmodel.layers.capture import _parameters_of
from costmodel.layers.names import ClassName, Names
from costmodel.layers.registry import Layer, layer_of
from tests._layer_types import TYPES


@pytest.mark.parametrize(("module_type", "layer"), TYPES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_layer_is_what_its_name_says(module_type: type[nn.Module], layer: Layer) -> None:
    """The class is found by its name, and its forward has the parameters that are written beside it."""
    assert layer_of(module_type) is layer
    assert layer.takes == _parameters_of(module_type)


def test_a_class_of_the_same_name_is_another() -> None:
    """What a user calls Linear is not torch's, and torch's two of a name are told apart."""

    class Linear(nn.Module):
        pass

    found = layer_of(nn.Linear)
    assert layer_of(Linear) is None
    assert found is not None
    assert found.key == "Linear"
    assert ClassName("torch.ao.nn.quantized.modules.linear", "Linear").is_class(nn.Linear) is False


def test_a_name_of_another_release() -> None:
    """A class that this torch lacks is no class's name; to load it is an error."""
    gone = Names("torch.nn").Convolution4d
    assert not gone.is_class(nn.Conv2d)
    with pytest.raises(AttributeError, match="Convolution4d"):
        gone.load()
    assert not ClassName("torch.no_such_module", "X").is_class(nn.Conv2d)
    with pytest.raises(AttributeError):
        getattr(Names("torch.nn"), "__wrapped__")  # noqa: B009
