"""Outlines of nuclei and cells, and structures that many cells make."""
