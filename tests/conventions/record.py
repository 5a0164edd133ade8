"""Records what tools print for the small modules: ``PYTHONPATH=FOLDER python -m tests.conventions.record thop``.

These are tools that tests do without: thop, whose package has the name of ultralytics-thop's; calflops and deepspeed,
which bring much along. ``pip install --no-deps --target FOLDER thop`` makes the folder.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

from tests.conventions.live import LIVE
from tests.conventions.small import SMALL, tensors

RECORDED = Path(__file__).with_name("recorded.json")

Answers = dict[str, dict[str, list[int] | None]]


def recorded() -> Answers:
    """By tool and module the tool's total and its parameters; nothing where it raises."""
    found: Answers = json.loads(RECORDED.read_text())
    return found


def _answers(tool: str) -> dict[str, list[int] | None]:
    found: dict[str, list[int] | None] = {}
    for name, (make, inputs) in SMALL.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = [int(n) for n in LIVE[tool](make().eval(), tensors(inputs))]
            except (AssertionError, AttributeError, IndexError, RuntimeError, StopIteration, TypeError):
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
    _record(sys.argv[1:])
