"""Nonsense in every argument of every public function: a result, or one clear error of the library's own."""

from __future__ import annotations

import inspect
import pickle
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import pytest
from torch import nn

import costmodel
from costmodel import devices, formulas, measures, models
from costmodel.comparison import Comparison
from costmodel.difference import Difference
from costmodel.errors import CostModelError
from tests.decoding.networks import Tiny
from tests.formulas.test_carriers import CALLS

NONSENSE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "-1": lambda: -1,
    "0": lambda: 0,
    "'nonsense'": lambda: "nonsense",
    "[]": list,
    "{}": dict,
    "object()": object,
    "nan": lambda: float("nan"),
    "10**30": lambda: 10**30,
    "True": lambda: True,
    "2.5": lambda: 2.5,
    "(None,)": lambda: (None,),
    "b'x'": lambda: b"x",
}

PATIENCE_S = 60.0

Call = tuple[Callable[..., Any], dict[str, Any]]


@cache
def small() -> costmodel.Profile:
    """A profile to ask nonsense of."""
    return costmodel.profile(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (1, 3, 8, 8))


def _measure() -> measures.Measure:
    return measures.Measure(
        name="nonsense_energy", title="energy", unit="pJ", means="energy", additive=True, of_layer=lambda layer: 1
    )


def _register_measure(**arguments: Any) -> Any:
    try:
        return measures.register_measure(**arguments)
    finally:
        measures.MEASURES.pop("nonsense_energy", None)


def _register_measure_of(**fields: Any) -> Any:
    """A measure with one nonsensical field, registered and then shown."""
    given = {field: getattr(_measure(), field) for field in measures.Measure.__dataclass_fields__} | fields
    before = dict(measures.MEASURES)
    try:
        measures.register_measure(measures.Measure(**given))
        return str(small())
    finally:
        for name in measures.MEASURES.keys() - before.keys():
            del measures.MEASURES[name]


def _register_op(**arguments: Any) -> Any:
    from costmodel.ops import RULES

    before = dict(RULES)
    targets = arguments.pop("targets")
    try:
        return costmodel.register_op(targets, **arguments)(lambda call: costmodel.Work())
    finally:
        for name in RULES.keys() - before.keys():
            del RULES[name]


def _register_layer(**arguments: Any) -> Any:
    from costmodel.layers import USER_LAYERS

    before = dict(USER_LAYERS)
    given = list(arguments.values())
    try:
        return costmodel.register_layer(given[0])(given[1])
    finally:
        for kind in USER_LAYERS.keys() - before.keys():
            del USER_LAYERS[kind]


class Mine(nn.Module):
    """A layer of one's own."""


def calls() -> dict[str, Call]:
    """Every public function and method, with arguments that make sense."""
    p = small()
    comparison = costmodel.compare({"a": p, "b": p}, baseline="a")
    scaled = costmodel.scaling(nn.ReLU(), ("B", 3))
    generated = costmodel.generation(Tiny(), prompt=3, new=2)
    found: dict[str, Call] = {
        "profile": (costmodel.profile, {
            "model": nn.ReLU(), "inputs": (1, 3), "mode": "eval", "strict": False, "execution": "auto",
        }),
        "crosscheck": (costmodel.crosscheck, {
            "model": nn.ReLU(), "inputs": (1, 3), "mode": "eval", "against": "", "execution": "auto",
        }),
        "scaling": (costmodel.scaling, {"model": nn.ReLU(), "inputs": ("B", 3), "training": False, "start": {"B": 2}}),
        "generation": (costmodel.generation, {
            "model": Tiny(), "prompt": 3, "new": 2, "batch": 1, "dtype": None, "weights": None,
        }),
        "Generation.decode": (generated.decode, {"context": 3}),
        "Generation.fits": (generated.fits, {"memory": 10**6}),
        "Generation.roofline": (generated.roofline, {"device": "h100"}),
        "TrainingStep.with_answers": (costmodel.training_step(nn.Linear(3, 2), (4, 3)).with_answers, {
            "device": "h100", "math": "float32", "memory": 10**6, "seconds": 0.1,
        }),
        "Generation.with_answers": (generated.with_answers, {"device": "h100", "memory": 10**6}),
        "Generation.total": (generated.total, {"name": "macs"}),
        "Scaling.at": (scaled.at, {"B": 2}),
        "Scaling.largest": (scaled.largest, {
            "name": "B", "flops": 10**4, "seconds": None, "device": None,
        }),
        "Scaling.pieces": (scaled.pieces, {"quantity": "peak_memory"}),
        "Scaling.plot": (scaled.plot, {"quantity": "macs"}),
        "compare": (costmodel.compare, {
            "models": {"a": nn.ReLU()}, "inputs": (1, 3), "baseline": "a", "metrics": {"x": {"a": 1}},
            "lower_is_better": ["x"], "counted_as": ["thop"], "columns": ["x"], "progress": list,
        }),
        "compare, a metric": (lambda **given: costmodel.compare({"a": p}, metrics=given), {"x": {"a": 1}}),
        "compare, a figure": (lambda **given: str(costmodel.compare({"a": p}, metrics={"x": given})), {"a": 1}),
        "compare, of JSON": (lambda **given: str(costmodel.compare({"a": p}, metrics={"x": given})), {
            "figures": {"a": 1}, "better": "higher", "unit": "", "means": "", "sources": {}, "head": "",
        }),
        "load": (costmodel.load, {"spec": "vgg11", "weights": False}),
        "read_json": (costmodel.read_json, {"path": "no-such.json"}),
        "Input": (costmodel.Input, {"shape": (1, 3), "dtype": None}),
        "register_measure": (_register_measure, {"measure": _measure()}),
        "register_measure, fields": (_register_measure_of, {
            name: getattr(_measure(), name) for name in measures.Measure.__dataclass_fields__
        }),
        "unregister_measure": (measures.unregister_measure, {"name": "nonsense"}),
        "register_op": (_register_op, {
            "targets": "nonsense::op",
            **{n: q.default for n, q in inspect.signature(costmodel.register_op).parameters.items() if n != "targets"},
        }),
        "register_layer": (_register_layer, {"module_class": Mine, "function": lambda module, shape: None}),
        "measures.named": (measures.named, {"name": "macs"}),
        "measures.add": (measures.add, {"figures": [1, 2]}),
        "measures.shown_in": (measures.shown_in, {"place": "layers"}),
        "measures.of_layers": (measures.of_layers, {"place": "layers"}),
        "models.closed_form": (models.closed_form, {
            "name": "mobilenet_v2", "batch": 1, "mode": "eval", "width": 1.0, "resolution": 224, "num_classes": 10,
        }),
        "models.build": (models.build, {"name": "mobilenet_v2", "width": 0.25, "num_classes": 10}),
        "models.check_closed_form": (models.check_closed_form, {"profile": p, "name": "vgg11"}),
        "devices.device": (devices.device, {"name": "h100"}),
        "formulas.total": (formulas.total, {"layers": [formulas.copy(shape=(2, 2))]}),
        "Difference": (lambda **sides: str(Difference(**sides)), {"old": p, "new": p}),
        "Difference.to_markdown": (Difference(p, p).to_markdown, {"top": 20, "limit": None}),
        "Comparison": (lambda **given: str(Comparison(**given)), {
            "profiles": {"a": p}, "baseline": None, "metrics": {}, "columns": None,
        }),
        "CrossCheck.to_markdown": (lambda: p.crosscheck().to_markdown(), {}),
        "Roofline.to_markdown": (p.roofline("h100").to_markdown, {"limit": 20}),
        "Guidelines.to_markdown": (p.guidelines().to_markdown, {"limit": 20}),
        "LayerCost.times": (formulas.copy(shape=(2, 2)).times, {"factor": 2}),
    }  # fmt: skip
    for name, arguments in CALLS.items():
        formula = formulas.CATALOG[name]
        defaults = {n: q.default for n, q in inspect.signature(formula).parameters.items()}
        found[f"formulas.{name}"] = (formula, {**defaults, **arguments})
    for name in (
        "alexnet",
        "vgg11",
        "googlenet",
        "resnet18",
        "mobilenet_v1",
        "shufflenet_v1",
        "efficientnet_b0",
        "hybridsn",
    ):
        factory = getattr(models, name)
        defaults = {n: q.default for n, q in inspect.signature(factory).parameters.items()}
        found[f"models.{name}"] = (factory, defaults)
    for result, kind in ((p, "Profile"), (comparison, "Comparison")):
        for name, method in inspect.getmembers(type(result), inspect.isfunction):
            if not name.startswith("_"):
                parameters = list(inspect.signature(method).parameters.values())[1:]
                given = {q.name: None if q.default is q.empty else q.default for q in parameters}
                found[f"{kind}.{name}"] = (getattr(result, name), given)
    return found


def attempts() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each call with one argument replaced by nonsense."""
    for name, (function, arguments) in calls().items():
        for argument in arguments:
            for said, make in NONSENSE.items():
                yield (
                    f"{name}({argument}={said})",
                    lambda f=function, a=arguments, k=argument, m=make: f(**{**a, k: m()}),
                )


def outcome(attempt: Callable[[], Any]) -> tuple[str, str]:
    """What became of a call: a ``result``, a ``clear`` error, or the class of a ``raw`` one."""
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attempt()
    except CostModelError as error:
        said = str(error)
        kind = "clear" if said and "\n" not in said else "unclear"
    except Exception as error:
        kind, said = "raw", f"{type(error).__name__}: {error}"
    else:
        kind, said = "result", ""
    if time.monotonic() - started > PATIENCE_S:
        kind = "slow"
    return kind, said


def tried() -> tuple[Counter[str], list[str]]:
    """The number of calls by outcome, and those that are neither a result nor a clear error."""
    counts: Counter[str] = Counter()
    wrong = []
    for name, attempt in attempts():
        kind, said = outcome(attempt)
        counts[kind] += 1
        if kind not in ("result", "clear"):
            wrong.append(f"{name}: {kind}: {said}")
    plt.close("all")
    return counts, wrong


def test_nonsense_is_a_result_or_one_clear_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No argument of a public function brings forth an error of Python's, torch's or pandas' own."""
    monkeypatch.chdir(tmp_path)
    counts, wrong = tried()
    assert not wrong, "\n".join(wrong)
    assert counts["clear"] > 1000


@pytest.mark.parametrize("function", [formulas.conv, models.vgg11, models.build, models.closed_form])
def test_an_argument_of_no_such_name_is_one_of_ours_and_a_type_error(function: Callable[..., Any]) -> None:
    """As Python has it of any function, and as all errors of the library are."""
    given = {} if function in (formulas.conv, models.vgg11) else {"name": "vgg11"}
    with pytest.raises(TypeError, match="nonsense") as found:
        function(**given, nonsense=1)
    assert isinstance(found.value, CostModelError)


def test_what_is_public_pickles() -> None:
    """A sweep sends functions to other processes by name: the name leads to the function."""
    for function in (*formulas.CATALOG.values(), models.vgg11, models.hybridsn):
        assert pickle.loads(pickle.dumps(function)) is function


if __name__ == "__main__":  # the counts: python -m tests.robustness.test_nonsense
    counted, failed = tried()
    sys.stdout.write("\n".join((*failed, f"{sum(counted.values())} calls: {dict(counted)}", "")))
