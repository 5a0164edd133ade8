"""Closed forms side by side: what layers and blocks cost, and the ratios to the first."""

from costmodel.side_by_side.make import compare as compare
from costmodel.side_by_side.make import named as named
from costmodel.side_by_side.make import parse as parse
from costmodel.side_by_side.make import parse_arguments as parse_arguments
from costmodel.side_by_side.result import COMPARED as COMPARED
from costmodel.side_by_side.result import FormulaComparison as FormulaComparison
from costmodel.side_by_side.result import Side as Side
