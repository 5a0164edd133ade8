"""Every error the library raises on purpose: what happened, where, with which shapes, and what to do."""

from __future__ import annotations


class CostModelError(Exception):
    """The base of all errors of this library."""


class ForwardError(CostModelError):
    """The model's forward failed while it was traced; the message names the layer and the shapes."""


class UnknownOpError(CostModelError):
    """With ``strict=True``: an op ran for which there is no rule."""


class NeedsValuesError(CostModelError):
    """The model asks for a tensor's value, which a trace without values cannot give (``execution="meta"``)."""


class InputError(CostModelError):
    """The inputs given to the library cannot be understood, or do not suit the model."""


class LoadError(CostModelError):
    """A model named by a spec string cannot be loaded."""


class ConvertError(CostModelError):
    """A saved profile cannot be read, or a result cannot be written in the form asked for."""
