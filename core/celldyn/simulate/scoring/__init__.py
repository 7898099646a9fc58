"""How close a fitted result comes to the truth that the simulator wrote beside it."""

from __future__ import annotations

from celldyn.simulate.scoring.compare import SYSTEMS, score

__all__ = ["SYSTEMS", "score"]
