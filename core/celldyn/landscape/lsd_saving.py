"""The part of an LSD model that saves it and brings it back."""

from __future__ import annotations

from pathlib import Path

from celldyn.landscape.lsd_base import LSDBase


class SavingMixin(LSDBase):
    """Saving; see `LSD`."""

    def save(self, path: Path | str) -> Path:
        """Write the model to one file."""
        raise NotImplementedError
