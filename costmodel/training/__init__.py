"""Training: what a step costs, from forward to update, and whether it fits."""

from __future__ import annotations

from costmodel.training.make import training_step
from costmodel.training.step import TrainingStep

__all__ = ["TrainingStep", "training_step"]
