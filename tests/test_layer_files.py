"""A file of layers is imported when one of its classes is first met: the table that says which is true."""

from __future__ import annotations

import subprocess
import sys

from costmodel.layers.files import FILES, OF_OTHER_MODULES

REGISTERED = """
import sys
from importlib import import_module
from pathlib import Path
import costmodel.layers
from costmodel.layers import registry
register = registry._register
def noted(name, layer):
    frame = sys._getframe(1)
    while frame.f_code.co_name != "<module>":
        frame = frame.f_back
    print(frame.f_globals["__name__"].rpartition(".")[2], name.name)
    register(name, layer)
registry._register = noted
for file in sorted(Path(registry.__file__).parent.glob("torch_nn*.py")):
    import_module("costmodel.layers." + file.stem)
"""


def registered() -> dict[str, set[str]]:
    """The names of the classes that each file registers, once all are imported."""
    found: dict[str, set[str]] = {}
    for line in subprocess.check_output([sys.executable, "-c", REGISTERED], text=True).splitlines():
        file, name = line.split()
        found.setdefault(file, set()).add(name)
    return found


def test_every_class_stands_with_its_file() -> None:
    """A class that stands with another file would have no closed form until that is imported."""
    found = registered()
    assert found.pop(OF_OTHER_MODULES)
    assert {file: set(names.split()) for file, names in FILES.items()} == found
