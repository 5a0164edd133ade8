"""Records what thop prints for the small modules: ``COSTMODEL_THOP=FOLDER python -m tests.conventions.record_thop``.

``pip install --no-deps --target FOLDER thop`` makes that folder: the package of ultralytics-thop has the same name.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path

from tests.conventions.small import SMALL, tensors

RECORDED = Path(__file__).with_name("thop.json")


def recorded() -> dict[str, list[float] | None]:
    """By the name of a module, thop's total and its parameters; nothing where it raises."""
    found: dict[str, list[float] | None] = json.loads(RECORDED.read_text())
    return found


def _record() -> None:
    sys.path.insert(0, os.environ["COSTMODEL_THOP"])
    profile = import_module("thop").profile
    found: dict[str, list[float] | None] = {}
    for name, (make, inputs) in SMALL.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = list(profile(make().eval(), tensors(inputs), verbose=False))
            except (TypeError, IndexError):
                found[name] = None
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items()]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _record()
