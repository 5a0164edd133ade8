"""Pytest asks every object of a file that it collects, and one of these raises then."""

from __future__ import annotations

collect_ignore = ["hostile.py"]
