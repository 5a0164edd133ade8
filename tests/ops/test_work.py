"""Each rule's work is a number that does not come from the rule.

Of elementwise ops it is what docs/definitions.md says of an element, of all others what was counted by hand at the
rule's examples. ``tests/ops/test_foreach.py`` holds ops on lists to the ops on one tensor.
"""

from __future__ import annotations

import pytest

from costmodel.graph import OpCall
from costmodel.ops import RULES
from costmodel.quantities import Work
from tests.ops._binding import RealCall, runnable
from tests.ops._work_of_elements import PER_ELEMENT
from tests.ops._work_of_examples import BY_EXAMPLE
from tests.ops._work_of_gradients import OF_ACTIVATIONS, OF_GRADIENTS
from tests.ops._work_of_layers import BY_LAYER
from tests.ops._work_of_low_precision import OF_LOW_PRECISION
from tests.ops._work_of_matrices import OF_MATRICES
from tests.ops.test_registry import OURS

OF_EACH = PER_ELEMENT | OF_ACTIVATIONS
COUNTED = BY_EXAMPLE | BY_LAYER | OF_MATRICES | OF_GRADIENTS | OF_LOW_PRECISION
TABLES = OF_EACH | COUNTED
ATEN = [target for target in OURS if target.startswith("aten.") and runnable(target) is not None]


def name_of(target: str) -> str:
    """What the tables call an op: without its namespace and the default overload, in place as out of place."""
    name = target.removeprefix("aten.").removesuffix(".default")
    op, dot, overload = name.partition(".")
    return name if name in TABLES else f"{op.removesuffix('_')}{dot}{overload}"


def calls(target: str) -> list[OpCall]:
    """The rule's examples with real torch."""
    op = runnable(target)
    assert op is not None
    real = [RealCall.of(op, e) for e in RULES[target].examples]
    return [call.record(call.copy().run()) for call in real]


def expected(target: str, records: list[OpCall]) -> list[Work]:
    """What the tables say of the examples; nothing, where they do not name the op."""
    name = name_of(target)
    if name in OF_EACH:
        each = OF_EACH[name]
        works = each if isinstance(each, tuple) else (each,) * len(records)
        sizes = [record.outputs[0].size if record.outputs else record.args["self"].size for record in records]
        return [work.times(size) for work, size in zip(works, sizes, strict=True)]
    return list(COUNTED.get(name, (Work(),) * len(records)))


def test_no_op_is_counted_twice() -> None:
    """An op stands in one table."""
    tables = (PER_ELEMENT, BY_EXAMPLE, BY_LAYER, OF_MATRICES, OF_ACTIVATIONS, OF_GRADIENTS, OF_LOW_PRECISION)
    assert len(TABLES) == sum(map(len, tables))
    assert not TABLES.keys() - set(map(name_of, OURS))


@pytest.mark.parametrize("target", [t for t in ATEN if "_foreach_" not in t])
def test_work_is_what_was_counted_by_hand(target: str) -> None:
    """At each example of each rule. A rule that stands in no table does no work."""
    records = calls(target)
    assert [RULES[target].work(record) for record in records] == expected(target, records)
