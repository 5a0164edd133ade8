"""Costs as exact polynomials of the input's sizes, determined and verified by traces."""

from costmodel.polynomial.make import scaling as scaling
from costmodel.polynomial.result import Scaling as Scaling
