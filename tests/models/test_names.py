"""The networks by name: what can be named, what is said of a wrong name, and that nothing is imported early."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import costmodel.models as models

NAMES = [
    "alexnet",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "googlenet",
    "inception_v3",
    "inception_v4",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "se_resnet50",
    "xception",
    "mobilenet_v1",
    "mobilenet_v1_cifar",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "shufflenet_v1",
    "shufflenet_v2",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_s",
    "efficientnet_v2_m",
    "efficientnet_v2_l",
    "ghostnet",
    "hybridsn",
]


def test_every_promised_name_is_there() -> None:
    """The names are those that the public face promises, in its order."""
    assert models.list_models() == NAMES


def test_type_checkers_see_every_name() -> None:
    """The imports under TYPE_CHECKING, which give editors the signatures, name exactly the networks."""
    tree = ast.parse(Path(models.__file__).read_text())
    families = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    imported = {alias.name for node in families if node.module in models.FAMILIES for alias in node.names}
    assert imported == set(NAMES)


def test_every_file_is_a_family() -> None:
    """A file of models/ is listed as a family, or its name begins with an underscore."""
    files = {path.stem for path in Path(models.__file__).parent.glob("*.py") if not path.stem.startswith("_")}
    assert files == set(models.FAMILIES)


def test_names_cost_no_torch() -> None:
    """Listing the names imports neither torch nor a family; `costmodel` itself, which may, is left out of it."""
    code = f"""
import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("zoo", {models.__file__!r})
sys.modules["zoo"] = zoo = module_from_spec(spec)
spec.loader.exec_module(zoo)
zoo.list_models()
print([m for m in sys.modules if m == "torch" or m.startswith("zoo.")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['zoo.printed', 'zoo.printed._record']"


@pytest.mark.parametrize("family", list(models.FAMILIES))
def test_a_file_does_not_hide_its_network(family: str) -> None:
    """After a family's file is imported by hand, its networks' names still give the networks."""
    importlib.import_module(f"costmodel.models.{family}")
    assert all(callable(getattr(models, name)) for name in models.FAMILIES[family])


def test_dir_lists_the_names() -> None:
    """Completion in a notebook offers every network."""
    assert set(NAMES) < set(dir(models))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("mobilenetv2", "no model is called 'mobilenetv2'; did you mean mobilenet_v2 or"),
        ("zzz", r"no model is called 'zzz'; costmodel\.models\.list_models\(\) has all names"),
    ],
)
def test_a_wrong_name_is_answered_with_a_right_one(wrong: str, said: str) -> None:
    """`build` and attribute access both say which names are close."""
    with pytest.raises(ValueError, match=said):
        models.build(wrong)
    with pytest.raises(AttributeError, match=said):
        getattr(models, wrong)


@pytest.mark.parametrize("name", models.list_models())
def test_arguments_and_summary_are_the_factorys(name: str) -> None:
    """What `costmodel models` lists without torch is the signature and the docstring of the network's function."""
    factory = getattr(models, name)
    assert models.arguments(name) == {p.name: p.default for p in inspect.signature(factory).parameters.values()}
    assert models.about(name) == (inspect.getdoc(factory) or "").partition("\n")[0] != ""
