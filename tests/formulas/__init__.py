"""Tests of costmodel.formulas: against loop nests, counted arithmetic, torch's own kernels, algebra and papers."""
