"""The work of products of few bits, at the examples of their rules, counted by hand.

As in ``tests/ops/_work_of_examples.py``; what GPUs alone run is in ``tests/ops/test_low_precision.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from costmodel.quantities import Work

OF_LOW_PRECISION: Mapping[str, tuple[Work, ...]] = {
    "_int_mm": (Work(macs=3 * 4 * 5),),
    # 3 rows of 64, 16 columns, each with a scale.
    "_weight_int8pack_mm": (Work(macs=3 * 64 * 16, multiplies=3 * 16),),
    # 3 rows of 64; 32 x 64 weights, each times a scale, plus a zero point.
    "_weight_int4pack_mm_for_cpu": (Work(macs=3 * 64 * 32, multiplies=32 * 64, adds=32 * 64),),
    # 4 rows of 64, quantised; 4 x 32 outputs, of 2 blocks or of one.
    "_dyn_quant_matmul_4bit": tuple(
        Work(
            macs=4 * 64 * 32, divides=4 * 2, compares=4 * (2 * 63 + 5 + 2 * 64) + 128 * 2,
            multiplies=4 * (2 + 64) + 128 * of_an_output, adds=4 * (5 + 64) + 128 * (of_an_output - 2),
        )
        for of_an_output in (5, 3)
    ),
    # 16 x 48 outputs: by the product of two scales; by a scale of the row and one of the column, plus a bias.
    "_scaled_mm": (Work(macs=768 * 32, multiplies=1 + 768), Work(macs=768 * 32, multiplies=2 * 768, adds=768)),
    "_scaled_mm_v2": (Work(macs=768 * 32, multiplies=1 + 768),),
}  # fmt: skip
