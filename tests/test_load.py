from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.errors import LoadError, NeedsValuesError
from costmodel.loading import building, parse


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is loaded may ask the network."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a model was being loaded, and asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_guard_against_the_network_can_fail() -> None:
    """A connection is refused, so that a download would be seen."""
    with pytest.raises(AssertionError, match="asked the network"):
        socket.create_connection(("127.0.0.1", 1))


def test_every_own_network_is_named() -> None:
    """The library's own names load, and know their inputs."""
    model = costmodel.load("resnet18")
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
    assert model.example_inputs == (1, 3, 224, 224)


def test_arguments_are_literals() -> None:
    """Arguments in parentheses reach the factory."""
    model = costmodel.load(" mobilenet_v1(width=0.5, num_classes=10) ")
    assert model.get_submodule("fc").out_features == 10  # type: ignore[union-attr]  # a Linear
    assert parse("a.b:f(1, 'x', k=[1, (2, None)])").args == (1, "x")


@pytest.mark.parametrize("spec", ["resnet18(__import__('os').abort())", "resnet18(x)", "resnet18(1+", "resnet18(**{})"])
def test_nothing_in_a_spec_is_executed(spec: str) -> None:
    """What is no literal is refused, not evaluated."""
    with pytest.raises(LoadError, match="Python literals"):
        costmodel.load(spec)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("resnet51", "did you mean resnet50"),
        ("zzz", "package.module:factory"),
        ("", "package.module:factory"),
        ("torchvision:", "names no model"),
        ("resnet18(widht=2)", "widht.*called as resnet18"),
        ("mobilenet_v1(width=-1)", "cannot be built: InputError.*width multiplier must be greater than 0"),
        ("no_such_package.models:net", "no module is called"),
        ("torchvison:resnet18", "did you mean torchvision:"),
        ("torch.nn:Linera", "did you mean Linear"),
        ("torch.nn:Linear", "missing a required argument: 'in_features'"),
        ("math:sqrt(4)", "gave float, not a torch.nn.Module"),
        ("nowhere/net.py:make", "no file .*nowhere/net.py"),
        ("hf:berrt", "hf:bert"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_the_remedy(spec: str, says: str) -> None:
    """One line: what was asked, what is wrong, and what there is instead."""
    if spec.startswith("hf:"):
        pytest.importorskip("transformers")
    with pytest.raises(LoadError, match=says) as error:
        costmodel.load(spec)
    assert "\n" not in str(error.value)


def test_a_module_and_a_class_of_a_package() -> None:
    """package.module:factory, with positional arguments."""
    assert isinstance(costmodel.load("torch.nn:Linear(3, 4)"), nn.Linear)


FILE = """
from torch import nn
from beside import WIDTH

def net(c=WIDTH):
    return nn.Linear(c, 2)

ready = net(3)

def broken():
    raise RuntimeError("on purpose")

def leaves():
    raise SystemExit(0)
"""


def test_a_factory_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's factory may import what lies beside it; a module that is made already is taken as it is."""
    (tmp_path / "beside.py").write_text("WIDTH = 7\n")
    (tmp_path / "my_net.py").write_text(FILE)
    assert costmodel.load(f"{tmp_path}/my_net.py:net").in_features == 7
    monkeypatch.chdir(tmp_path)
    assert costmodel.load("my_net.py:net(c=5)").in_features == 5
    assert costmodel.load("my_net.py:ready").in_features == 3
    with pytest.raises(LoadError, match="on purpose"):
        costmodel.load("my_net.py:broken")
    with pytest.raises(LoadError, match="SystemExit: 0"):
        costmodel.load("my_net.py:leaves")
    with pytest.raises(LoadError, match="did you mean net"):
        costmodel.load("my_net.py:nett")


def test_a_file_with_an_error_of_its_own(tmp_path: Path) -> None:
    """What the file raises is told, with the file's name."""
    (tmp_path / "bad.py").write_text("import no_such_thing\n")
    with pytest.raises(LoadError, match=r"bad\.py.*no_such_thing"):
        costmodel.load(f"{tmp_path}/bad.py:net")


def test_code_that_leaves_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script without a main guard that calls ``sys.exit`` is an error: its status would stand for the command's."""
    (tmp_path / "script.py").write_text("import sys\n\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    for spec in ("script.py:net", "script:net"):
        with pytest.raises(LoadError, match="SystemExit: 0"):
            costmodel.load(spec)


@pytest.mark.parametrize(
    ("spec", "params", "inputs"),
    [
        ("torchvision:resnet18", 11_689_512, (1, 3, 224, 224)),
        ("torchvision:inception_v3", 27_161_264, (1, 3, 299, 299)),
        ("torchvision:r3d_18", 33_371_472, (1, 3, 16, 112, 112)),
    ],
)
def test_torchvision(spec: str, params: int, inputs: Any) -> None:
    """torchvision's networks, with the parameters of its own table and the crop that their weights say."""
    pytest.importorskip("torchvision.models")
    model = costmodel.load(spec)
    assert sum(p.numel() for p in model.parameters()) == params
    assert model.example_inputs == inputs


def test_timm() -> None:
    """timm's networks know their input; a tag that names weights names none here."""
    pytest.importorskip("timm")
    p = costmodel.profile("timm:resnet18.a1_in1k(num_classes=10)")
    assert p.inputs[0].shape == (1, 3, 224, 224)
    assert p.params == 11_689_512 - 990 * 513


@pytest.mark.parametrize("argument", ["weights='DEFAULT'", "pretrained=True"])
def test_weights_are_refused(argument: str) -> None:
    """A spec cannot ask for a download."""
    pytest.importorskip("torchvision.models")
    with pytest.raises(LoadError, match="never downloaded"):
        costmodel.load(f"torchvision:resnet18({argument})")


def test_the_library_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers, or a file, says which part of it is missing, and the cause is another library's import."""
    (tmp_path / "brokenvision").mkdir()
    (tmp_path / "brokenvision/__init__.py").write_text("from brokenvision import ops\n")
    (tmp_path / "brokenvision/ops.py").write_text("raise RuntimeError('operator vision::nms does not exist')\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["Broken"]}')
    part = (
        "def part():\n    try:\n        import brokenvision\n    except RuntimeError as error:\n"
        "        raise ModuleNotFoundError(\"Could not import module 'Net'\") from error\n"
    )
    (tmp_path / "net.py").write_text(f"{part}part()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    why = (
        r"brokenvision cannot be imported \(RuntimeError: operator vision::nms does not exist\): "
        r"ModuleNotFoundError: Could not import module 'Net'"
    )
    with pytest.raises(LoadError, match=why):
        costmodel.load(f"{tmp_path}/net.py:net")
    transformers: Any = pytest.importorskip("transformers")
    code: dict[str, Any] = {}
    exec(part, code)
    found = type(transformers).__getattr__
    monkeypatch.setattr(
        type(transformers), "__getattr__", lambda m, name: code["part"]() if name == "Broken" else found(m, name)
    )
    for spec in (f"hf:{tmp_path}", f"hf:{tmp_path}/config.json"):
        with pytest.raises(LoadError, match=f"'{spec}' cannot be built: {why}"):
            costmodel.load(spec)


def test_a_torchvision_of_another_build_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ops are missing where it was not built for the torch that is installed, also deep within an import."""
    (tmp_path / "brokentimm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LoadError, match=r"install torch and torchvision from one index$"):
        building.package("brokentimm", "brokentimm")
    (tmp_path / "net.py").write_text(
        "try:\n    import brokentimm\nexcept RuntimeError as error:\n    raise ImportError('no net') from error\n"
    )
    with pytest.raises(LoadError, match=r"nms does not exist; install torch and torchvision from one index\)"):
        costmodel.load(f"{tmp_path}/net.py:net")


def test_transformers_by_type_file_and_folder(tmp_path: Path) -> None:
    """A model type with settings, a config.json, and the folder that has one, make the same model."""
    transformers = pytest.importorskip("transformers")
    by_type = costmodel.load(
        "hf:bert(num_hidden_layers=1, hidden_size=64, num_attention_heads=2, intermediate_size=128)"
    )
    by_type.config.save_pretrained(tmp_path)
    for spec in (f"hf:{tmp_path}", f"hf:{tmp_path}/config.json"):
        again = costmodel.load(spec)
        assert isinstance(again, transformers.BertModel)
        assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in by_type.parameters())
    with pytest.raises(LoadError, match=re.escape("no config.json")):
        costmodel.load(f"hf:{tmp_path.parent}")


def test_code_that_a_config_names_is_neither_run_nor_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config.json with code of its own is refused with a remedy: nothing waits for an answer on the terminal."""
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.MyConfig"}}')
    (tmp_path / "mine.py").write_text("raise SystemExit('it was run')")

    questions: list[Any] = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "n")
    for arguments in ("", "(trust_remote_code=True)"):
        with pytest.raises(
            LoadError, match=r"code of its own \(auto_map\), and hf: runs none.*path/to/file.py:factory"
        ):
            costmodel.load(f"hf:{tmp_path}{arguments}")
    assert not questions


# -- without weights --------------------------------------------------------------------------------------------------


def on_meta(model: nn.Module) -> bool:
    """Whether all parameters and buffers lie on the meta device."""
    return all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_a_network_loads_with_or_without_weights() -> None:
    """What is loaded can be run; without weights it takes no memory, and still knows its inputs."""
    model = costmodel.load("mobilenet_v3_small(width=0.35)").eval()
    assert model(torch.randn(1, 3, 64, 64)).isfinite().all()
    without = costmodel.load("mobilenet_v3_small(width=0.35)", weights=False)
    assert on_meta(without)
    assert without.example_inputs == model.example_inputs
    assert [t.shape for t in without.state_dict().values()] == [t.shape for t in model.state_dict().values()]


@pytest.mark.parametrize("spec", ["vgg11", "googlenet(aux=True)", "hybridsn"])
def test_a_spec_is_priced_without_weights(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles and cross-checks of the library's own networks make no weights, and are those of the real ones."""
    real = costmodel.load(spec)
    expected = costmodel.profile(real)

    register = nn.Module.register_parameter

    def watched(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        assert parameter is None or parameter.is_meta, "weights are made"
        register(module, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", watched)
    with pytest.raises(AssertionError, match="weights are made"):
        nn.Linear(2, 2)
    p = costmodel.profile(spec)
    assert p.name == spec
    assert p.layers.equals(expected.layers)
    assert (p.params, p.buffers, p.peak_memory) == (expected.params, expected.buffers, expected.peak_memory)
    assert costmodel.crosscheck(spec).ok


def test_weights_are_made_where_they_are_needed() -> None:
    """A real execution, and fvcore, which runs the model, have a network with weights."""
    assert costmodel.profile("mobilenet_v1_cifar", execution="real").execution == "real"
    assert costmodel.crosscheck("mobilenet_v1_cifar", against="fvcore").third


class ReadsItsBuffer(nn.Module):
    """Its forward asks for a value that it was built with."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("times", torch.tensor(3))
        self.example_inputs = (2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.value()):
            x = self.linear(x)
        return x

    def value(self) -> int:
        """The buffer's value as a number."""
        return int(self.get_buffer("times"))


class ListsItsBuffer(ReadsItsBuffer):
    """Its forward asks for a list, of which torch says other words."""

    def value(self) -> int:
        """The buffer's value by way of `tolist`."""
        value: int = self.get_buffer("times").tolist()
        return value


class ReadsWhileBuilt(nn.Linear):
    """Its constructor asks for a value."""

    def __init__(self) -> None:
        super().__init__(4, int(torch.linspace(0, 6, 3)[-1].item()))


@pytest.mark.parametrize(
    ("factory", "macs"), [(ReadsItsBuffer, 3 * 32), (ListsItsBuffer, 3 * 32), (ReadsWhileBuilt, 48)]
)
def test_a_network_that_needs_values_is_built_with_them(
    factory: type[nn.Module], macs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is read in the constructor, or in the forward, is there."""
    monkeypatch.setattr(costmodel.models, "list_models", lambda: ["reads"])
    monkeypatch.setattr(costmodel.models, "reads", factory, raising=False)
    with pytest.raises((RuntimeError, NeedsValuesError)), torch.device("meta"):
        costmodel.profile(factory(), (2, 4))
    assert costmodel.profile("reads", (2, 4)).macs == macs
    assert not on_meta(costmodel.load("reads"))


def test_weights_that_do_not_fit_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the system would kill for its memory tells what it needs instead."""
    monkeypatch.setattr(costmodel.models, "list_models", lambda: ["reads"])
    monkeypatch.setattr(costmodel.models, "reads", ReadsItsBuffer, raising=False)
    weights = 4 * (4 * 4 + 4) + 8
    monkeypatch.setattr(sys.modules["costmodel.loading"], "available_memory", lambda: weights)
    assert costmodel.profile("reads", (2, 4)).is_exact
    monkeypatch.setattr(sys.modules["costmodel.loading"], "available_memory", lambda: weights - 1)
    with pytest.raises(NeedsValuesError, match="smaller sizes"):
        costmodel.profile("reads", (2, 4))


class FailsWithoutValues(ReadsItsBuffer):
    """It fails on meta for a reason of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.linear.weight.device.type == "meta":
            raise KeyError("no such device")
        return self.linear(x)


def test_a_network_that_fails_without_weights_is_built_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says, where they are built in no time; the error says what was not tried where they are not."""
    monkeypatch.setattr(costmodel.models, "list_models", lambda: ["fails"])
    monkeypatch.setattr(costmodel.models, "fails", FailsWithoutValues, raising=False)
    p = costmodel.profile("fails", (2, 4))
    assert (p.macs, p.execution) == (32, "meta")
    monkeypatch.setattr(sys.modules["costmodel.loading"], "_QUICKLY_BUILT", 10)
    with pytest.raises(costmodel.ForwardError, match=r"no such device.*was not tried with weights, .*load\('fails'\)"):
        costmodel.profile("fails", (2, 4))


def test_a_file_runs_as_it_is_written(tmp_path: Path) -> None:
    """What a user's factory makes has weights: its code may do more than make layers."""
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(3, 2)\n")
    assert not on_meta(costmodel.load(f"{tmp_path}/net.py:net", weights=False))


@pytest.mark.parametrize(
    ("spec", "without"),
    [
        ("torchvision:mobilenet_v3_small", True),
        ("torchvision:regnet_y_400mf", False),  # its constructor works with values
        ("timm:resnet18", True),
        ("hf:bert(num_hidden_layers=1, hidden_size=48, intermediate_size=96, vocab_size=50)", True),
    ],
)
def test_other_libraries_networks_are_the_same_without_weights(spec: str, without: bool) -> None:
    """What can be built without weights is, and every layer costs what it costs with them."""
    pytest.importorskip({"torchvision": "torchvision.models", "hf": "transformers"}.get(spec.split(":")[0], "timm"))
    assert on_meta(costmodel.load(spec, weights=False)) == without
    real, p = costmodel.profile(costmodel.load(spec)), costmodel.profile(spec)
    assert p.layers.equals(real.layers)
    assert (p.params, p.buffers, p.peak_memory) == (real.params, real.buffers, real.peak_memory)
