"""The covariates of some cells as tensors that minibatches are views of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.vae.inputs import Groups, Ints, VAEInputs

if TYPE_CHECKING:
    import torch

_LISTS = ("ambient", "scaling", "conditioning", "encoder")
_SINGLES = ("dispersion", "library", "batch")


class CodeBlock:
    """Codes, numbers and masks of some cells, gathered once for the many minibatches of them.

    Parameters
    ----------
    inputs
        The data set.
    cells
        (n,) which of its cells, in the order of the minibatches.
    device
        Where the tensors are.
    masked
        Per modality whether its mask is needed: whether any cell of the epoch is absent there.
    """

    def __init__(
        self,
        inputs: VAEInputs,
        cells: Ints,
        device: torch.device | str,
        masked: tuple[bool, ...],
    ) -> None:
        import torch

        rows, self._parts = _rows_of(inputs)
        codes = np.stack([_gathered(groups, offset, cells) for groups, offset in rows])
        self._codes = torch.from_numpy(codes).to(device)
        self._present = [
            torch.from_numpy(each.present[cells]).to(device) if mask else None
            for each, mask in zip(inputs.modalities, masked, strict=True)
        ]
        self._log_totals = [
            torch.from_numpy(np.log(np.maximum(each.totals[cells], 1)).astype(np.float32)).to(
                device
            )
            for each in inputs.modalities
        ]
        self._numbers: dict[str, torch.Tensor] = {}
        if inputs.continuous is not None:
            self._numbers["continuous"] = torch.from_numpy(inputs.continuous[cells]).to(device)
        if inputs.size_factor is not None:
            logs = np.log(inputs.size_factor[cells])
            self._numbers["log_size_factor"] = torch.from_numpy(logs).to(device)

    def part(self, start: int, stop: int) -> dict[str, Any]:
        """Return what a `Batch` of these cells has besides its counts."""
        codes = self._codes[:, start:stop]
        singles = codes[-len(_SINGLES) :].unbind(0)
        held: dict[str, Any] = dict(zip(_SINGLES, singles, strict=True))
        for name, first, last in self._parts:
            held[name] = codes[first:last].T
        for name, numbers in self._numbers.items():
            held[name] = numbers[start:stop]
        held["log_totals"] = tuple(totals[start:stop] for totals in self._log_totals)
        held["present"] = tuple(
            None if mask is None else mask[start:stop] for mask in self._present
        )
        return held


def _rows_of(
    inputs: VAEInputs,
) -> tuple[list[tuple[Groups | None, int]], list[tuple[str, int, int]]]:
    """Return each row's column and what is added to its codes; and the rows of each list."""
    rows: list[tuple[Groups | None, int]] = []
    parts = []
    for name in _LISTS:
        first, offset = len(rows), 0
        for groups in getattr(inputs, name):
            rows.append((groups, offset))
            offset += len(groups)
        parts.append((name, first, len(rows)))
    rows += [(getattr(inputs, name), 0) for name in _SINGLES]
    return rows, parts


def _gathered(groups: Groups | None, offset: int, cells: Ints) -> Ints:
    if groups is None:
        return np.zeros(len(cells), np.int64)
    return groups.codes[cells] + offset


def masks_needed(inputs: VAEInputs, cells: Ints) -> tuple[bool, ...]:
    """Return per modality whether any of these cells is absent in it."""
    return tuple(not bool(each.present[cells].all()) for each in inputs.modalities)
