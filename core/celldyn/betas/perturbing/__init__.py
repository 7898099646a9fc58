"""Genes changed in a tissue, and the change carried on by the fitted betas."""
