"""Whose count a published figure is: the convention that makes it, to the digits that are printed."""

from costmodel.provenance.make import published
from costmodel.provenance.result import Provenance

__all__ = ["Provenance", "published"]
