"""What the published records say of differences is computed: every number in a reason is one that can be derived."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

import costmodel.models as models
from costmodel import formulas
from costmodel.models.closed import ClosedForm, efficientnet_v2, mobilenet_v3, shufflenet_v1

UNITS = {"": 1, "M": 10**6, "G": 10**9}


@contextmanager
def changed(target: Any, name: str, value: Any) -> Iterator[None]:
    """A table's entry is another one for a while."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(target, dict):
            patch.setitem(target, name, value)
        else:
            patch.setattr(target, name, value)
        yield


def layers(form: ClosedForm, says: Callable[[Any], bool], quantity: str) -> int:
    """A quantity of the layers of which something holds."""
    return sum(getattr(row, quantity) for row in form.rows if says(row))


def norms(name: str) -> int:
    """Scales and shifts of batch norm."""
    return layers(models.closed_form(name), lambda row: row.kind == "norm", "params")


def with_norms(name: str, **arguments: Any) -> int:
    """MACs, and one an element of each batch norm."""
    form = models.closed_form(name, **arguments)
    return form.macs + layers(form, lambda row: row.kind == "norm", "flops") // 2


def small_with_hidden_1280(quantity: str, width: float) -> int:
    """MobileNetV3-Small with the hidden layer of Large."""
    network = partial(mobilenet_v3.mobilenet_v3, mobilenet_v3.SMALL, mobilenet_v3.LARGE_HIDDEN)
    with changed(mobilenet_v3.NETWORKS, "mobilenet_v3_small", network):
        return getattr(models.closed_form("mobilenet_v3_small", width=width), quantity)


def shufflenet_with_stem(channels: int, groups: int, width: float) -> int:
    """ShuffleNet's MACs with so many channels in its first convolution."""
    with changed(shufflenet_v1, "STEM_WIDTH", channels / width):
        return models.closed_form("shufflenet_v1", groups=groups, width=width).macs


def first_version_of_efficientnet_v2_s() -> int:
    """MACs of EfficientNetV2-S with 272 channels in stage 6 and 1792 in the head."""
    *stages, last = efficientnet_v2.S
    table = (*stages, efficientnet_v2.Stage(last.fused, last.expansion, last.stride, 272, last.depth))
    network = partial(efficientnet_v2.efficientnet_v2, table, resolution=384)
    with (
        changed(efficientnet_v2, "HEAD_WIDTH", 1792),
        changed(efficientnet_v2.NETWORKS, "efficientnet_v2_s", network),
    ):
        return models.closed_form("efficientnet_v2_s").macs


def alexnet_of_2012(quantity: str) -> int:
    """The network of two towers on 227x227 input: Krizhevsky et al., NIPS 2012, section 3.5."""
    rows = [(3, 96, 11, 55, 1), (96, 256, 5, 27, 2), (256, 384, 3, 13, 1), (384, 384, 3, 13, 2), (384, 256, 3, 13, 2)]
    total = 0
    for c_in, c_out, kernel, size, groups in rows:
        total += getattr(
            formulas.conv(c_in=c_in, c_out=c_out, kernel=kernel, size=(size, size), padding="same", groups=groups),
            quantity,
        )
    for c_in, c_out in [(256 * 36, 4096), (4096, 4096), (4096, 1000)]:
        total += getattr(formulas.linear(in_features=c_in, out_features=c_out), quantity)
    return total


def totals(name: str, quantity: str, **arguments: Any) -> int:
    """A total of a network."""
    return getattr(models.closed_form(name, **arguments), quantity)


def googlenet_stem(quantity: str) -> int:
    """A quantity of GoogLeNet's first convolution."""
    return layers(models.closed_form("googlenet"), lambda row: row.name == "conv1.conv", quantity)


V1, V2, S1 = "mobilenet_v1", "mobilenet_v2", "shufflenet_v1"

TOLD: list[tuple[str, dict[str, Any], str, Callable[[], int]]] = [
    ("alexnet", {}, "60,965,224", lambda: alexnet_of_2012("params")),
    ("alexnet", {}, "60.97 M", lambda: alexnet_of_2012("params")),
    ("alexnet", {}, "724.4 M", lambda: alexnet_of_2012("macs")),
    ("googlenet", {}, "9408", lambda: googlenet_stem("params") - 64),
    ("googlenet", {}, "118M", lambda: googlenet_stem("macs")),
    ("googlenet", {}, "2712", lambda: 7 * 7 * 3 * 8 + 24 * 64),
    (
        "resnet34", {}, "3.644 G",
        lambda: totals("resnet34", "macs") - layers(
            models.closed_form("resnet34"), lambda row: ".shortcut." in row.name, "macs"
        ),
    ),
    ("resnet152", {}, "11.28 G", lambda: totals("resnet152", "macs", stride_in_1x1=True)),
    ("resnext101_64x4d", {}, "31.5 G", lambda: totals("resnext101_64x4d", "macs", resolution=320)),
    ("inception_v4", {}, "12.25 G", lambda: totals("inception_v4", "macs")),
    ("inception_v4", {}, "42.7 M", lambda: totals("inception_v4", "params") + totals("inception_v4", "buffers")),
    (V1, {}, "574 M", lambda: with_norms(V1)),
    (V1, {"width": 1.0}, "4.233 M", lambda: totals(V1, "params", num_classes=1001)),
    ("inception_v3", {}, "23,817,352", lambda: totals("inception_v3", "params") - norms("inception_v3") // 2),
    (
        "efficientnet_v2_l", {}, "119.0 M",
        lambda: totals("efficientnet_v2_l", "params") + totals("efficientnet_v2_l", "buffers"),
    ),
    ("mobilenet_v3_small", {"width": 1.0}, "2.947 M", lambda: small_with_hidden_1280("params", 1.0)),
    ("mobilenet_v3_small", {"width": 1.0}, "56.9 M", lambda: small_with_hidden_1280("macs", 1.0)),
    ("mobilenet_v3_small", {"width": 0.75}, "2.409 M", lambda: small_with_hidden_1280("params", 0.75)),
    ("mobilenet_v3_small", {"width": 0.75}, "43.8 M", lambda: small_with_hidden_1280("macs", 0.75)),
    (S1, {"groups": 3, "width": 0.25}, "13.3 M", lambda: shufflenet_with_stem(12, 3, 0.25)),
    (S1, {"groups": 3, "width": 1.5}, "292.4 M", lambda: shufflenet_with_stem(24, 3, 1.5)),
    (S1, {"groups": 8, "width": 1.5}, "290.2 M", lambda: shufflenet_with_stem(24, 8, 1.5)),
    ("efficientnet_b1", {}, "0.698 G", lambda: with_norms("efficientnet_b1")),
    ("efficientnet_v2_s", {}, "8.6 G", first_version_of_efficientnet_v2_s),
]  # fmt: skip


@pytest.mark.parametrize(("name", "variant", "told", "derive"), TOLD, ids=[f"{case[0]}-{case[2]}" for case in TOLD])
def test_a_number_in_a_reason_is_derived(
    name: str, variant: dict[str, Any], told: str, derive: Callable[[], int]
) -> None:
    """The number stands in the record, and is the derived one at the digits that are told."""
    texts = [f"{r.why} {r.note}" for r in models.published() if (r.name, dict(r.variant)) == (name, variant)]
    number, unit = re.fullmatch(r"([\d.,]+) ?([MG]?)", told).groups()  # type: ignore[union-attr]  # the table above
    written = rf"(?<![\d.,]){re.escape(number)}(?: ?{unit}| \()" if unit else rf"(?<![\d.,]){re.escape(number)}"
    assert any(re.search(written, text) for text in texts), (told, texts)
    places = len(number.partition(".")[2])
    derived = Decimal(derive()) / UNITS[unit]
    assert round(derived, places) == Decimal(number.replace(",", ""))


def test_every_precise_number_in_a_reason_is_known() -> None:
    """A number of three digits or more is derived above, a total of the network, or printed by another source."""
    derived = {told.replace(" ", "") for _, _, told, _ in TOLD}
    records = models.published()
    for record in records:
        same = [r for r in records if r.name == record.name]
        printed = {str(text).replace(" ", "") for r in same for text in (r.params_printed, r.macs_printed)}
        for number, unit in re.findall(r"(?<![\w.,:])(\d+\.\d{2,}|\d{3,}\.\d+) ?([MG])\b", record.why):
            places = len(number.partition(".")[2])
            own = [totals(record.name, quantity, **record.variant) for quantity in ("params", "macs")]
            rounded = {f"{round(Decimal(total) / UNITS[unit], places)}{unit}" for total in own}
            assert f"{number}{unit}" in derived | printed | rounded, (record.name, number, unit)
