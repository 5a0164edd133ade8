"""Figures that libraries print of their networks: which convention makes all of them.

torchvision.csv: `_ops` and `num_params` of the weights of every classification network, torchvision 0.29.2. The script
that measured them is test/common_extended_utils.py of pytorch/vision.

timm.csv: rows of results/benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv, huggingface/pytorch-image-models, commit
5c33776aa59f0f05bfb8008ff546ed4c09083f1a, which benchmark.py of that repository measured with fvcore.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

import costmodel
from costmodel.provenance.result import Finding

FOLDER = Path(__file__).parent
UNFUSED = "fvcore, attention written out"


def rows(name: str) -> list[dict[str, str]]:
    """A file's rows."""
    with (FOLDER / name).open() as file:
        return list(csv.DictReader(file))


TORCHVISION, TIMM = rows("torchvision.csv"), rows("timm.csv")
FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t",
    "mnasnet0_5", "mobilenet_v2", "regnet_x_400mf", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5",
    "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32", "wide_resnet50_2",
)  # fmt: skip
"""One network of each family; all weights of all 80 were compared once."""
ARGUMENTS = {
    "googlenet": {"aux_logits": False, "init_weights": False},  # the weights have no auxiliary classifiers
    "inception_v3": {"init_weights": False},
}
OTHER_CODE = {"vitamin_small_224": "params"}
"""Figures of timm's table that no convention makes of the network as timm 1.0.31 has it."""

OURS = {
    "resnet18": "resnet18", "resnet50": "resnet50", "vgg16": "vgg16", "mobilenetv2_100": "mobilenet_v2",
    "mobilenetv3_large_100": "mobilenet_v3_large", "efficientnet_b0": "efficientnet_b0",
    "ghostnet_050": "ghostnet(width=0.5)",
}  # fmt: skip
"""Networks of timm's table that this library has, too."""


def makes(finding: Finding, *conventions: str) -> bool:
    """Whether one of the conventions makes the figure, in every digit."""
    return any(r.match in ("exact", "rounded") for r in finding.matches if r.convention in conventions)


def held_to_torchvision(model: str | torch.nn.Module, row: dict[str, str]) -> None:
    """GFLOPS are MACs, and all parameters are counted."""
    shape = (1, 3, int(row["size"]), int(row["size"]))
    ops, params = costmodel.published(model, shape, flops=f"{row['gflops']}G", params=row["params"]).findings
    assert makes(ops, "MACs"), ops.nearest
    assert makes(params, "params"), params.nearest


def held_to_timm(model: str, row: dict[str, str], besides: str = "") -> None:
    """GMACs and activations are fvcore's, of attention that is written out; parameters all of them."""
    shape = (1, 3, int(row["infer_img_size"]), int(row["infer_img_size"]))
    macs, params, activations = costmodel.published(
        model, shape,
        macs=f"{row['infer_gmacs']}G", params=f"{row['param_count']}M", activations=f"{row['infer_macts']}M",
    ).findings  # fmt: skip
    assert makes(macs, "fvcore", UNFUSED), macs.nearest
    assert makes(activations, "fvcore", UNFUSED), activations.nearest
    assert makes(params, "params") == (besides != "params"), params.nearest


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnext50_32x4d", "mobilenet_v3_small", "efficientnet_b0"])
def test_torchvision_of_our_networks(name: str) -> None:
    """Of networks that this library has as torchvision has them, where torchvision is not installed, too."""
    held_to_torchvision(name, next(row for row in TORCHVISION if row["network"] == name))


@pytest.mark.parametrize("name", OURS)
def test_timm_of_our_networks(name: str) -> None:
    """Of the networks that this library has as timm has them."""
    held_to_timm(OURS[name], next(row for row in TIMM if row["model"] == name))


@pytest.fixture
def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are not drawn, which takes longer than all else."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "trunc_normal_", "zeros_", "ones_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)


def test_torchvision_prints_what_was_recorded() -> None:
    """Every figure is the installed torchvision's own."""
    models = pytest.importorskip("torchvision").models
    for row in TORCHVISION:
        meta = models.get_model_weights(row["network"])[row["weights"]].meta
        assert (f"{meta['_ops']:.3f}", str(meta["num_params"])) == (row["gflops"], row["params"]), row


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision(name: str) -> None:
    """Of classification networks of every kind, on the smallest image that there are weights for."""
    models = pytest.importorskip("torchvision").models
    row = min((row for row in TORCHVISION if row["network"] == name), key=lambda row: int(row["size"]))
    # A RegNet reads a tensor while it is built.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = models.get_model(name, weights=None, **ARGUMENTS.get(name, {}))
    held_to_torchvision(model, row)


@pytest.mark.parametrize("row", TIMM, ids=lambda row: row["model"])
def test_timm(row: dict[str, str]) -> None:
    """Of networks of every kind: none but those whose code is another now are off, in any digit."""
    pytest.importorskip("timm")
    held_to_timm(f"timm:{row['model']}", row, OTHER_CODE.get(row["model"], ""))
