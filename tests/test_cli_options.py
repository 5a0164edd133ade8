"""What options are read as: inputs and dtypes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import costmodel
from costmodel.cli import main
from costmodel.cli.options import read_inputs
from costmodel.errors import InputError


@pytest.mark.parametrize(
    ("texts", "inputs"),
    [
        (None, None),
        (["1,3,224,224"], (1, 3, 224, 224)),
        (["1x3x8x8", "2,4"], ((1, 3, 8, 8), (2, 4))),
        (["7,"], (7,)),
        (["x=1,3", "mask=1,3"], {"x": (1, 3), "mask": (1, 3)}),
        (["1,3", "mask=1,3"], costmodel.call((1, 3), mask=(1, 3))),
        (["1,3", "t=()"], costmodel.call((1, 3), t=costmodel.Input(()))),
        (["():int64"], costmodel.Input((), "int64")),
    ],
)
def test_inputs_are_read(texts: list[str] | None, inputs: object) -> None:
    """One shape, several, by keyword, both, and of no dimension."""
    assert read_inputs(texts) == inputs


def test_inputs_with_a_dtype() -> None:
    """A dtype follows the shape."""
    assert read_inputs(["ids=1,128:int64"]) == {"ids": costmodel.Input((1, 128), torch.int64)}
    with pytest.raises(InputError, match=r"1,128:flaot16.*did you mean 'float16'"):
        read_inputs(["1,128:flaot16"])
    with pytest.raises(InputError, match="keyword"):
        read_inputs(["x=1,3", "x=1,3"])


PARAMS = 280_650
"""Of mobilenet_v1_cifar, by hand in tests/models."""


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("float64", 8)])
def test_a_model_is_priced_in_another_dtype(dtype: str, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    """--dtype says how many bytes a parameter takes, for each command that prints costs."""
    for arguments in (["profile", "mobilenet_v1_cifar"], ["compare", "mobilenet_v1_cifar", "vgg11"]):
        with pytest.raises(SystemExit) as left:
            main([*arguments, "--dtype", dtype, "--json"])
        assert left.value.code == 0
        assert f'"params_bytes":{size * PARAMS},' in capsys.readouterr().out.replace('": ', '":')
    for limit, code in ((size * PARAMS, 0), (size * PARAMS - 1, 1)):
        with pytest.raises(SystemExit) as left:
            main(["check", "mobilenet_v1_cifar", "--dtype", dtype, "--max-params-bytes", str(limit)])
        assert left.value.code == code


def test_what_has_no_other_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dtype that is none, and a saved profile."""
    saved = tmp_path / "p.json"
    costmodel.profile("mobilenet_v1_cifar").save(saved)
    for model, dtype, says in (("resnet18", "flaot16", "did you mean 'float16'"), (str(saved), "float16", "fixed")):
        with pytest.raises(SystemExit) as left:
            main(["profile", model, "--dtype", dtype])
        assert left.value.code == 2
        assert says in " ".join(capsys.readouterr().err.split())
