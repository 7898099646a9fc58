"""Genes changed in cells of a landscape: what becomes of their fates, and which genes matter."""
