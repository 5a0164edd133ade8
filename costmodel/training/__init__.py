"""Training: what a step costs, from forward to update, and whether it fits."""
