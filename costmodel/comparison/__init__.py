"""Several models, or training steps, side by side."""

from costmodel.comparison.make import compare as compare
from costmodel.comparison.result import Comparison as Comparison
