"""Molecules: where they lie, which leak, and tables of them."""
