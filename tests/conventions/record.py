"""Records what tools print for small models: ``PYTHONPATH=FOLDER python -m tests.conventions.record thop``.

These are tools that tests do without: thop, whose package has the name of ultralytics-thop's; calflops and deepspeed,
which bring much along. ``pip install --no-deps --target FOLDER thop`` makes the folder.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from tests.conventions.live import LIVE
from tests.conventions.small import SMALL, tensors
from tests.conventions.transformer_models import TRANSFORMERS

RECORDED = Path(__file__).with_name("recorded.json")

Answers = dict[str, dict[str, list[int] | None]]


def recorded() -> Answers:
    """By tool and model the tool's total and its parameters; nothing where it raises."""
    found: Answers = json.loads(RECORDED.read_text())
    return found


def _answers(tool: str) -> dict[str, list[int] | None]:
    models: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]] = {
        **{name: (make, partial(tensors, inputs)) for name, (make, inputs) in SMALL.items()}, **TRANSFORMERS
    }  # fmt: skip
    found: dict[str, list[int] | None] = {}
    for name, (make, inputs) in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = [int(n) for n in LIVE[tool](make().eval(), inputs())]
            except (
                AssertionError,
                AttributeError,
                IndexError,
                KeyError,
                RuntimeError,
                StopIteration,
                TypeError,
            ) as error:
                print(f"{tool} on {name}: {type(error).__name__}: {error}")  # noqa: T201  # it is a script
                found[name] = None
    return found


def _record(tools: list[str]) -> None:
    answers = recorded() if RECORDED.exists() else {}
    answers |= {tool: _answers(tool) for tool in tools}
    blocks = [
        f"{json.dumps(tool)}: {{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}"
        for tool, found in sorted(answers.items())
    ]
    RECORDED.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


if __name__ == "__main__":
    import tests.conftest  # noqa: F401  # transformers imports torchvision, which is for CUDA

    _record(sys.argv[1:])
