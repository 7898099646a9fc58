"""What a user can have done wrong: one sentence that says what, where, and what to do."""

from __future__ import annotations


class CelldynError(Exception):
    """A mistake that the user can mend.

    Parameters
    ----------
    problem
        What is wrong and where, as a clause without a full stop.
    remedy
        What to do about it, as a clause without a full stop.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem, remedy)

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}." if self.remedy else f"{self.problem}."


class ConfigError(CelldynError, ValueError):
    """A parameter is unknown, of the wrong type, or out of its bounds."""


class DataError(CelldynError, ValueError):
    """The data set cannot serve for what was asked of it."""


class MissingKeyError(CelldynError, KeyError):
    """A gene, column, layer or key that was named is not in the data set."""


class FileFormatError(CelldynError, ValueError):
    """A file cannot be read as what it claims to be."""


class PriorError(CelldynError, ValueError):
    """A table of prior knowledge (GRN, ligand-receptor) cannot be used."""


class NotFittedError(CelldynError, RuntimeError):
    """A result was asked for before the model was fitted."""


class UnavailableError(CelldynError, NotImplementedError):
    """Something that this version, or this installation, cannot do."""


class JobConflictError(CelldynError, RuntimeError):
    """Two jobs would write the same keys."""
