"""A training step as text, page and figures: one file per format."""
