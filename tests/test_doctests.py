"""Doctests of models/, which pytest's own collection would import under a name that nobody may use."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import costmodel.models

MODULES = ["costmodel.models"] + [
    found.name for found in pkgutil.walk_packages(costmodel.models.__path__, "costmodel.models.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_model_file_hold(name: str) -> None:
    """Every example in the docstrings of a file of models/ prints what it says."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
