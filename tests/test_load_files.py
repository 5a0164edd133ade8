from __future__ import annotations

import json
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.errors import LoadError


class Net(nn.Module):
    """A network with an argument by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> torch.Tensor:
        """Two layers."""
        y: torch.Tensor = self.linear(self.conv(x).mean((2, 3))) * scale
        return y


MACS, PARAMS = 2 * 36 * 8 * 27 + 2 * 32, 8 * 28 + 36


def exported() -> Any:
    """The network with its inputs, as torch.export keeps it."""
    return torch.export.export(Net().eval(), (torch.randn(2, 3, 8, 8),), {"scale": torch.tensor(2.0)})


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_an_exported_program(execution: Any, tmp_path: Path) -> None:
    """As an object and as a file, with its own inputs and with others."""
    program = exported()
    torch.export.save(program, tmp_path / "net.pt2")
    for model in (program, f"{tmp_path}/net.pt2"):
        given = costmodel.call((2, 3, 8, 8), scale=costmodel.Input(()))
        for inputs in (None, given):
            p = costmodel.profile(model, inputs, execution=execution)
            assert (p.macs, p.params) == (MACS, PARAMS)
            assert p.is_exact
        assert costmodel.crosscheck(model).ok
    assert costmodel.profile(program).name == "ExportedProgram"


def scripted(path: Path, model: nn.Module) -> None:
    """Saves a model as TorchScript, of which torch says that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(model).save(path)


@pytest.mark.parametrize("suffix", ["pt", "pth", "ts", "torchscript"])
def test_torchscript(suffix: str, tmp_path: Path) -> None:
    """An archive of TorchScript is priced like the module that it was made of."""
    path = tmp_path / f"net.{suffix}"
    scripted(path, nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    p = costmodel.profile(str(path), (2, 3, 8, 8))
    assert (p.macs, p.params, p.name) == (2 * 36 * 8 * 27, 8 * 28, str(path))


class Runs:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return pytest.fail, ("a file was unpickled",)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("weights.pt", {"a": torch.zeros(3)}, "state_dict.*path/to/file.py:factory"),
        ("model.pth", Runs(), "pickle, which may run any"),
        ("broken.pt2", b"nonsense", "cannot be built"),
        ("broken.ts", b"nonsense", "no TorchScript archive"),
        ("net.onnx", b"", "onnx2torch.*path/to/file.py:factory"),
        ("model.safetensors", b"", "hf:FOLDER"),
        ("nowhere.pt2", None, "there is no file"),
    ],
)
def test_files_that_are_no_models(name: str, content: Any, says: str, tmp_path: Path) -> None:
    """One line says what the file lacks and what to do; nothing is unpickled."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(LoadError, match=says) as error:
        costmodel.load(str(path))
    assert "\n" not in str(error.value)


def test_a_saved_model_takes_no_arguments(tmp_path: Path) -> None:
    """Its sizes are in the file."""
    scripted(tmp_path / "net.pt", nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(LoadError, match="takes no arguments"):
        costmodel.load(f"{tmp_path}/net.pt(width=2)")


# -- transformers' dtypes --------------------------------------------------------------------------------------------

BERT = "num_hidden_layers=1, hidden_size=32, num_attention_heads=2, intermediate_size=64, vocab_size=100"


def folder(path: Path, dtype: str | None, stored: dict[str, tuple[str, list[int]]] | None) -> str:
    """A folder with a configuration that states a dtype, and a checkpoint's header beside it."""
    pytest.importorskip("transformers")
    costmodel.load(f"hf:bert({BERT})").config.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    config.pop("dtype", None)
    config |= {} if dtype is None else {"dtype": dtype}
    (path / "config.json").write_text(json.dumps(config))
    if stored is not None:
        header = {name: {"dtype": d, "shape": s, "data_offsets": [0, 0]} for name, (d, s) in stored.items()}
        text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
        (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return f"hf:{path}"


def dtypes(model: Any) -> set[torch.dtype]:
    """Those of a model's parameters."""
    return {p.dtype for p in model.parameters()}


@pytest.mark.parametrize("weights", [False, True])
def test_the_configurations_dtype_is_that_of_the_model(weights: bool, tmp_path: Path) -> None:
    """A configuration in a file, or a setting of a type, says what the parameters are; torch's default stays."""
    spec = folder(tmp_path, "bfloat16", None)
    assert dtypes(costmodel.load(spec, weights=weights)) == {torch.bfloat16}
    assert dtypes(costmodel.load(f"hf:bert({BERT}, dtype='float16')", weights=weights)) == {torch.float16}
    assert dtypes(costmodel.load(f"hf:bert({BERT})", weights=weights)) == {torch.float32}
    assert torch.get_default_dtype() == torch.float32
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": ["BertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert dtypes(costmodel.load(spec, weights=weights)) == {torch.bfloat16}  # by the class that it names, too
    p = costmodel.profile(spec)
    assert p.params_bytes == 2 * p.params
    assert costmodel.profile(spec, dtype="float64").params_bytes == 8 * p.params


def test_a_checkpoint_says_more_than_the_configuration(tmp_path: Path) -> None:
    """Parameters have the dtypes in the header; those that it lacks, the one of most elements."""
    stored = {
        "bert.embeddings.word_embeddings.weight": ("F32", [100, 32]),
        "bert.encoder.layer.0.intermediate.dense.weight": ("BF16", [64, 100]),
        "encoder.layer.0.output.dense.bias": ("F32", [32]),
    }
    model = costmodel.load(folder(tmp_path, "float16", stored))
    assert model.get_parameter("embeddings.word_embeddings.weight").dtype == torch.float32
    assert model.get_parameter("encoder.layer.0.output.dense.bias").dtype == torch.float32
    assert model.get_parameter("pooler.dense.weight").dtype == torch.bfloat16


def test_a_quantised_checkpoint_leaves_the_configurations_dtype(tmp_path: Path) -> None:
    """Its floating tensors are scales."""
    stored = {"encoder.w": ("F8_E4M3", [100, 100]), "encoder.w_scale": ("F32", [10])}
    assert dtypes(costmodel.load(folder(tmp_path, "bfloat16", stored))) == {torch.bfloat16}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff" * 64, struct.pack("<Q", 3) + b"{}x", struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 7) + b'{"a":1}', struct.pack("<Q", 8) + b'{"a":{}}',
    ],
)  # fmt: skip
def test_a_header_that_is_none(content: bytes, tmp_path: Path) -> None:
    """A file that is damaged is named."""
    spec = folder(tmp_path, None, None)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(LoadError, match=re.escape("model.safetensors is no safetensors file")):
        costmodel.load(spec)


# -- torchvision -----------------------------------------------------------------------------------------------------


def test_a_transformers_input_is_of_the_size_that_it_is_built_for() -> None:
    """Not of that which its best weights were tuned on."""
    pytest.importorskip("torchvision.models")
    for spec, size in (("vit_h_14", 224), ("vit_b_16(image_size=64)", 64)):
        model = costmodel.load(f"torchvision:{spec}", weights=False)
        assert model.example_inputs == (1, 3, size, size)
        assert costmodel.profile(model).macs > 0
