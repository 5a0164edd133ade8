"""What needs no torch works where torch cannot be imported; what needs it says so in one error.

Each statement runs in one fresh interpreter in which an import of torch fails, on profiles saved by this one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import costmodel
from tests._layer_types import TYPES

BLOCKED = """
import contextlib, io, json, os, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())

def command(*arguments):
    from costmodel.cli import main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"{end.code}: {out.getvalue()[:200]} {err.getvalue()}") from None
    return out.getvalue()

def attempt(statement):
    import costmodel
    names = {"costmodel": costmodel, "command": command}
    try:
        *before, last = statement.split("; ")
        exec("\\n".join(before), names)
        return "ok", str(eval(last, names))
    except Exception as error:
        return type(error).__name__, str(error)

for line in sys.stdin:
    print(json.dumps([*attempt(json.loads(line)), "torch" in sys.modules]), flush=True)
"""


@dataclass
class Interpreter:
    """A process without torch."""

    process: subprocess.Popen[str]

    def run(self, statement: str) -> tuple[str, str]:
        """Runs a statement whose last part is an expression: "ok", or the class of the error; and what it gave."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(statement) + "\n")
        self.process.stdin.flush()
        how, what, has_torch = json.loads(self.process.stdout.readline())
        assert not has_torch
        return how, what


class Many(nn.Module):
    """Layers of kinds that have formulas of their own: attention, recurrence, an embedding, norms, a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x: Any) -> Any:
        x, _ = self.lstm(self.embedding(x))
        x, _ = self.attention(x, x, x)
        return self.norm(self.encoder(x).transpose(1, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two profiles, one of them of many kinds of layers, and two training steps, saved."""
    folder = tmp_path_factory.mktemp("saved")
    costmodel.profile("mobilenet_v3_small").save(folder / "net.json")
    costmodel.profile(Many().eval(), costmodel.Input((2, 5), "int64")).save(folder / "many.json")
    for batch in (2, 4):
        costmodel.training_step("mobilenet_v2(width=0.35)", (batch, 3, 64, 64)).save(folder / f"step{batch}.json")
    return folder


@pytest.fixture(scope="module")
def python(folder: Path) -> Iterator[Interpreter]:
    """The process, in the folder of the saved files."""
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKED], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Interpreter(process)


WORK = [
    "from costmodel import *; costmodel.__version__",
    "from costmodel.formulas import *; conv(c_in=3, c_out=8, kernel=3, size=(9, 9)).macs",
    "costmodel.formulas.compare('conv', 'depthwise_separable', c_in=4, c_out=8, kernel=3, size=9).to_markdown()",
    "costmodel.formulas.compare('conv', c_in=4, c_out=8, kernel=3, size=9).to_html()",
    "costmodel.models.list_models()",
    "len(costmodel.models.published())",
    "costmodel.models.closed_form('mobilenet_v2', width=0.75).layers.to_string()",
    "costmodel.models.closed_form('resnet18', training=True).saved_bytes",
    "import sympy; costmodel.models.closed_form('vgg16', batch=sympy.Symbol('B', integer=True, positive=True)).macs",
    "costmodel.sweep('mobilenet_v2', {'width': [0.5, 1.0], 'resolution': range(96, 225, 32)}).pareto().to_string()",
    "costmodel.sweep('resnet18', {'batch': [1, 0]}, save='rows.parquet').failures.to_string()",
    "costmodel.sweep('resnet18', {'batch': [1, 2]}).save('sweep.html')",
    "costmodel.sweep('resnet18', {'batch': [1, 2]}).save('sweep.md')",
    "costmodel.measures.MEASURES",
    "from costmodel.devices import device_names; device_names()",
    "costmodel.register_op('mylib::op')(lambda call: costmodel.Work(adds=1))",
    "costmodel.register_function('mylib:function')(lambda call: costmodel.Work(adds=1))",
    "costmodel.call((1, 2), costmodel.Value(3))",
    "import costmodel.notes; len(costmodel.formulas.CATALOG)",
    "command('--help')",
    "command('models')",
    "command('sweep', 'mobilenet_v2', 'width=0.5,1.0', 'resolution=96:224:32', '--json')",
    "command('models', '--published')",
    "command('explain')",
    "command('explain', 'conv')",
    "command('explain', 'conv', 'depthwise_conv', '--with', 'c_in=4,c_out=4,channels=4,kernel=3,size=9')",
    "command('compare', 'net.json', 'many.json', '--save', 'both.html')",
    "command('compare', 'step4.json', 'step2.json')",
    "command('diff', 'net.json', 'many.json')",
    "command('diff', 'step4.json', 'step2.json')",
    "command('check', 'net.json', '--max-params', '4M')",
    "command('check', 'step4.json')",
    "command('guidelines', 'net.json')",
    "command('roofline', 'net.json', '--device', 'h100')",
    "command('train', 'step4.json', '--device', 'h100', '--save', 'step.md')",
]
OF_A_RESULT = [
    "{0}.crosscheck().ok or 1 / 0",
    "{0}.crosscheck().to_markdown()",
    "{0}.to_markdown()",
    "{0}.to_html()",
    "{0}.to_csv()",
    "{0}.to_latex()",
    "{0}.to_pandas().to_string()",
    "{0}.to_json() == open('{1}').read() or 1 / 0",
    "str({0})",
    "repr({0})",
    "{0}._repr_html_()",
    "{0}.save('page.md')",
    "{0}.plot_memory()",
    "{0}.coverage",
    "{0}.layers",
    "{0}.roofline('h100').to_markdown()",
    "import pickle; pickle.loads(pickle.dumps({0})).macs",
    "command('{2}', '{1}')",
    "command('{2}', '{1}', '--json')",
    "command('{2}', '{1}', '--save', 'page.html')",
    "command('{2}', '{1}', '--save', 'page.tex')",
]
OF_A_PROFILE = [
    "{0}.guidelines().to_markdown()",
    "{0}.ops, {0}.modules, {0}.memory, {0}.fused_memory_access",
    "{0}.local_receptive_field",
    "{0}.plot_layers(), {0}.plot_kinds(), {0}.plot_roofline('h100')",
    "costmodel.compare({{'a': {0}, 'b': {0}}}, baseline='a').to_html()",
    "from costmodel.difference import Difference; Difference({0}, {0}).to_markdown()",
]
OF_A_STEP = [
    "{0}.memory, {0}.peak, {0}.curve, {0}.live",
    "{0}.forward.to_html(), {0}.backward.macs, {0}.update.flops",
    "{0}.mfu(0.1, 'h100'), {0}.hfu(0.1, 'h100')",
]


@pytest.mark.parametrize("statement", WORK)
def test_it_works(statement: str, python: Interpreter) -> None:
    """Closed forms, lists, explanations, and commands on saved files."""
    assert python.run(statement)[0] == "ok", python.run(statement)


@pytest.mark.parametrize("name", ["net", "many", "step4"])
def test_saved_results_have_every_view(name: str, python: Interpreter) -> None:
    """A saved profile, and a saved training step, is read, checked, shown in every form and analysed."""
    of_kind, command = (OF_A_STEP, "train") if name == "step4" else (OF_A_PROFILE, "profile")
    for statement in (*OF_A_RESULT, *of_kind):
        text = statement.format(f"costmodel.read_json('{name}.json')", f"{name}.json", command)
        assert python.run(text)[0] == "ok", (text, python.run(text))


def test_every_closed_form_is_computed(python: Interpreter) -> None:
    """Whole networks, forward and in training: the figures are those that they are with torch."""
    for name in costmodel.models.list_models():
        for training in (False, True):
            form = costmodel.models.closed_form(name, training=training)
            text = f"costmodel.models.closed_form('{name}', training={training}).macs"
            assert python.run(text) == ("ok", str(form.macs))


def test_every_layer_type_is_registered(python: Interpreter) -> None:
    """The closed forms of all layers are there, and none is of this process's torch."""
    how, what = python.run("from costmodel.layers import LAYERS; len(LAYERS)")
    assert how == "ok"
    assert int(what) >= len(TYPES)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("costmodel.profile('resnet18')", "'resnet18'"),
        ("costmodel.profile(len, (1, 2))", "costmodel.profile"),
        ("costmodel.training_step('resnet18')", "costmodel.training_step"),
        ("costmodel.crosscheck('resnet18')", "costmodel.crosscheck"),
        ("costmodel.compare(['resnet18', 'vgg11'])", "'resnet18'"),
        ("costmodel.load('timm:resnet18')", "'timm:resnet18'"),
        ("costmodel.models.resnet18()", "costmodel.models.resnet18"),
        ("costmodel.sweep('resnet{d}', {'d': [18]})", "a sweep of models that are traced"),
        ("costmodel.models.build('resnet18')", "costmodel.models.resnet18"),
        ("costmodel.Input((1, 2))", "a dtype"),
        ("costmodel.register_layer(int)", "costmodel.register_layer"),
        ("from costmodel.calibrate import calibrate; calibrate()", "costmodel calibrate"),
        ("from costmodel.notes import results; results(['000-1'])", "costmodel.notes"),
    ],
)
def test_what_needs_torch_says_so(statement: str, named: str, python: Interpreter) -> None:
    """One error of the library's, which says what needs torch, how to get it, and what works without."""
    how, what = python.run(statement)
    assert how == "CostModelError", (how, what)
    assert what.startswith(f"{named} needs torch, which is not installed: pip install torch. ")


@pytest.mark.parametrize("command", ["profile resnet18", "train resnet18", "notes", "calibrate", "check resnet18"])
def test_commands_say_so(command: str, python: Interpreter) -> None:
    """On standard error, in one line, with the status of an input error."""
    how, what = python.run(f"command(*{command.split()!r})")
    assert how == "RuntimeError"
    assert what.startswith("2: ")
    assert " needs torch, which is not installed: pip install torch. " in what


def test_the_block_holds(python: Interpreter) -> None:
    """An import of torch, or of a part of it, fails in that process."""
    assert python.run("import torch; 1") == ("ModuleNotFoundError", "No module named 'torch'")
    assert python.run("__import__('torch.nn')")[0] == "ModuleNotFoundError"
