"""What happens to the expression of one gene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from celldyn.errors import DataError

Kind: TypeAlias = Literal["knockout", "set", "multiply", "add"]

_KINDS = ("knockout", "set", "multiply", "add")


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to the expression x of one gene: x becomes factor · x + offset.

    Parameters
    ----------
    kind
        "knockout" (to 0), "set" (to `value`), "multiply" (by `value`), "add" (`value`).
    value
        In the unit of the expression, or a factor; without meaning for a knock-out.

    Raises
    ------
    DataError
        If the kind is unknown, or the value is not finite or negative where it may not be.
    """

    kind: Kind
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise DataError(
                f"{self.kind!r} is no way to change a gene", f"choose one of {', '.join(_KINDS)}"
            )
        if isinstance(self.value, bool) or not np.isfinite(self.value):
            raise DataError(f"the value of a change is {self.value!r}", "give a finite number")
        if self.value < 0 and self.kind in ("set", "multiply"):
            raise DataError(
                f"a gene cannot be {self.kind} by or to {self.value:g}", "give at least 0"
            )
        object.__setattr__(self, "value", 0.0 if self.kind == "knockout" else float(self.value))

    @property
    def factor(self) -> float:
        """What the expression is multiplied by."""
        return {"multiply": self.value, "add": 1.0}.get(self.kind, 0.0)

    @property
    def offset(self) -> float:
        """What is added to it then."""
        return self.value if self.kind in ("set", "add") else 0.0

    def describe(self, gene: str) -> str:
        """Name the change of a gene in a few words."""
        sign = "+" if self.value >= 0 else "−"
        return {
            "knockout": f"knock-out of {gene}",
            "set": f"{gene} = {self.value:g}",
            "multiply": f"{gene} × {self.value:g}",
            "add": f"{gene} {sign} {abs(self.value):g}",
        }[self.kind]


KNOCK_OUT = Change("knockout")
"""The gene is not expressed."""
