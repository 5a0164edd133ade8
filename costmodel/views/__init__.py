"""Results to text, pages and figures, and nothing else: no figure is computed here, and only here is one rounded."""
