"""Rules depend on the version of torch, which the trace tells them when it is imported."""

from __future__ import annotations

import costmodel.trace  # noqa: F401
