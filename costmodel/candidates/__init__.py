"""Sweeps: what each of many candidates costs, computed in one process, in several, or on a Dask cluster."""

from costmodel.candidates.make import sweep
from costmodel.candidates.result import Sweep

__all__ = ["Sweep", "sweep"]
