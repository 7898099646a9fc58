"""Figures, one module per system; drawn without pyplot, so that any thread may draw them."""
