"""Budgets: bounds on what a model costs, from an argument, an option or a file, held to its figures.

Importing this loads none of its files: the command line reads its options from ``quantities`` alone.
"""
