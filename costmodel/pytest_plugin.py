"""The pytest plugin: the fixture ``costmodel_budget``. It imports nothing heavy before a test asks for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest


class BudgetOfTests:
    """Holds models to the budgets of the file ``costmodel.toml`` in pytest's root folder."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, name: str | None = None, model: Any = None, inputs: Any = None) -> None:
        """Raises ``AssertionError`` where a figure does not keep its bound.

        Args:
            name: a budget of the file; ``None``: each of them.
            model: what is held to it in the place of the file's model, such as a module that the test has made.
            inputs: what is given to that; by default as the file says.
        """
        __tracebackhide__ = True
        from costmodel.budgets.assertion import failure
        from costmodel.budgets.file import named, read_budgets
        from costmodel.errors import InputError

        if name is not None and not isinstance(name, str):
            raise InputError("the name of a budget comes first, then the model: costmodel_budget('mobile', MyNet())")
        if name is None and model is not None:
            raise InputError("name the budget that the model is held to")
        budgets = read_budgets(self.file)
        for budget in budgets.values() if name is None else [named(budgets, name)]:
            missed = budget.examine(partial(failure, bounds=budget.bounds), model, inputs)
            if missed:
                raise AssertionError(missed)


@pytest.fixture(scope="session")
def costmodel_budget(pytestconfig: pytest.Config) -> BudgetOfTests:
    """Holds a model to a budget of ``costmodel.toml``: ``costmodel_budget("mobilenet")``."""
    return BudgetOfTests(pytestconfig.rootpath / "costmodel.toml")
