"""What went wrong in a job, as one sentence and a text; no frame of the job is kept."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from celldyn.errors import CelldynError

LONGEST = 300
"""A message is cut after this many characters; all of it is in the details."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed.

    Parameters
    ----------
    sentence
        What is wrong and what to do, for the user.
    details
        The whole traceback as text, for a report.
    """

    sentence: str
    details: str


def describe(error: BaseException) -> Failure:
    """Put an exception into words and empty its frames, so that their arrays are freed.

    Call it in the thread where the exception was caught: a suspended generator that only those
    frames still held is closed here.
    """
    details = "".join(traceback.format_exception(error))
    failure = Failure(_sentence(error), details)
    for link in _chain(error):
        traceback.clear_frames(link.__traceback__)
        link.__traceback__ = None
    return failure


def _sentence(error: BaseException) -> str:
    if isinstance(error, CelldynError):
        return str(error)
    message = _first_line(error)
    if _is_gpu_memory(error, message):
        return "The GPU is out of memory; try a smaller batch or cpu."
    if isinstance(error, MemoryError) or "can't allocate memory" in message:
        return "The computer is out of memory; try a smaller batch or fewer cells."
    what = type(error).__name__ + (f": {message}" if message else "")
    what = what if what.endswith((".", "!", "?", "…")) else f"{what}."
    return f"{what} This is a defect of the program: please report it with the details."


def _first_line(error: BaseException) -> str:
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001  (an exception whose own text raises is still reported)
        return ""
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _is_gpu_memory(error: BaseException, message: str) -> bool:
    """Whether it is torch's own error, or one of the plain ones that mps and cuBLAS raise."""
    torch = sys.modules.get("torch")
    kind = getattr(getattr(torch, "cuda", None), "OutOfMemoryError", None)
    if kind is not None and isinstance(error, kind):
        return True
    plain = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(words in message for words in plain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give the error and all it was raised from or during, each once."""
    waiting, seen = [error], set()
    while waiting:
        link = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [e for e in (link.__cause__, link.__context__) if e is not None]
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions
