"""A perturbation in sclsd's way: jumps to the nearest cell, then let go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_perturb_cases import GENES, fork_cells, fork_subjects

from celldyn.jobs import run
from celldyn.landscape import PerturbConfig, flow, perturb_effects
from celldyn.landscape.perturbing.edits import Edit
from celldyn.landscape.perturbing.preparing import Subjects
from celldyn.landscape.perturbing.reference import Jumps, reference_job
from celldyn.perturbation import Perturbation


def by_hand(networks, x, z, start, column, level, jumps):
    """sclsd's scheme, a cell's expression at a time."""

    def nearest(states):
        return torch.cdist(states, z).argmin(dim=1)

    rows = start.clone()
    for _ in range(jumps.n_jumps):
        if level is not None:
            rows = rows.clone()
            rows[:, column] = level
        with torch.no_grad():
            state = networks.encode(rows)[0]
        cells = nearest(flow(networks.potential, state, np.linspace(0, jumps.dt_pert, 10))[-1])
        rows = x[cells]
    with torch.no_grad():
        state = networks.encode(rows)[0]
    return nearest(flow(networks.potential, state, [0.0, jumps.t_unpert])[-1]).numpy()


@pytest.mark.parametrize("level", [0.0, 4.0])
def test_jumps_are_those_of_sclsd(level):
    x, labels, networks = fork_cells(300)
    with torch.no_grad():
        z = networks.encode(x)[0]
    subjects = Subjects.of(
        networks, lambda cells: x[torch.as_tensor(cells)], z, labels, GENES, None
    )
    start, jumps = x[labels == "Stem"], Jumps(0.2, 8.0, 4)
    edit = Edit.of(Perturbation.set_to({"left": level}), GENES)
    with torch.no_grad():
        found = run(reference_job(subjects, start, edit, jumps), bar=False)
        expected = [by_hand(networks, x, z, start, 0, one, jumps) for one in (level, None)]
    for ends, by in zip(found, expected, strict=True):
        assert (labels[ends] == labels[by]).mean() > 0.99
        assert (ends == by).mean() > 0.95
    lost = (labels[found[1]] == ("L" if level == 0 else "R")).mean()
    assert (labels[found[0]] == ("L" if level == 0 else "R")).mean() < lost


def test_an_effect_by_jumps_has_a_null_too():
    given, stem = fork_subjects()
    config = PerturbConfig(mode="reference", time=8.0, n_null=20, n_bootstrap=100)
    knock_out = Perturbation.knock_out("left")
    effect = perturb_effects(*given, knock_out, GENES, stem, config=config)
    assert effect.gained == "R"
    assert set(np.unique(effect.after)) == {0, 1}
    assert effect.p_any == 1 / 21
