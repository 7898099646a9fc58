"""What a change of expression does to a state, and cells that flow with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_cases import Bowl
from landscape_perturb_cases import N_GENES, any_networks

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Progress, run
from celldyn.landscape import nearest_vote
from celldyn.landscape.perturbing.anchors import anchor_cells, anchors_job
from celldyn.landscape.perturbing.edits import Edit, rule_of
from celldyn.landscape.perturbing.field import ShiftField
from celldyn.landscape.perturbing.flow import Schedule, held_flow_job
from celldyn.landscape.perturbing.shift import ShiftEncoder
from celldyn.landscape.perturbing.voting import EndVotes
from celldyn.landscape.voters import voters_of_clusters
from celldyn.perturbation import KNOCK_OUT, Change, Perturbation

NAMES = tuple(f"g{k}" for k in range(N_GENES))


def expression(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 0.5, (n, N_GENES)) * (rng.uniform(size=(n, N_GENES)) < 0.5)
    return x.astype(np.float32)


def anchors_of(networks, x):
    encoder = ShiftEncoder(networks)
    return run(
        anchors_job(encoder, lambda cells: torch.from_numpy(x[cells]), np.arange(len(x))),
        bar=False,
    )


CHANGES = [
    Perturbation.knock_out("g3"),
    Perturbation.multiply({"g3": 2.5, "g10": 0.5}),
    Perturbation({"g0": Change("add", -0.4), "g400": Change("set", 3.0), "g7": KNOCK_OUT}),
]


@pytest.mark.parametrize("perturbation", CHANGES)
def test_a_shift_is_the_difference_of_two_encodings(perturbation):
    networks, x = any_networks(), expression(3000)
    anchors = anchors_of(networks, x)
    rows, shifts = anchors.shifts(Edit.of(perturbation, NAMES))
    changed = torch.from_numpy(perturbation.apply(x, NAMES))
    with torch.no_grad():
        before, after = networks.encode(torch.from_numpy(x))[0], networks.encode(changed)[0]
    found = torch.zeros_like(before)
    found[rows] = shifts
    torch.testing.assert_close(anchors.state, before, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found, after - before, atol=2e-5, rtol=1e-4)
    assert (after - before).abs().max() > 0.05


def test_cells_that_a_change_leaves_alone_are_not_asked():
    x = expression(200)
    rows, _ = anchors_of(any_networks(), x).shifts(Edit.of(CHANGES[0], NAMES))
    np.testing.assert_array_equal(rows, np.flatnonzero(x[:, 3]))


@pytest.mark.parametrize("change", [KNOCK_OUT, Change("set", 2.0), Change("add", -0.3)])
def test_size_of_a_change_is_mean_and_spread_over_cells(change):
    x = expression(300)
    sizes = anchors_of(any_networks(), x).sizes(change.factor, change.offset)
    added = np.maximum(x * change.factor + change.offset, 0) - x
    np.testing.assert_allclose(sizes[:, 0], added.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(sizes[:, 1], added.std(axis=0), atol=1e-6)


def test_share_of_variance_that_clusters_explain():
    x, codes = expression(300), np.random.default_rng(1).integers(0, 3, 300)
    x[:, 5] += codes
    x[:, 6] = 0.7
    told = anchors_of(any_networks(), x).told_by(codes)
    between = sum(
        (codes == k).mean() * (x[codes == k].mean(axis=0) - x.mean(axis=0)) ** 2 for k in range(3)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(x.var(axis=0) > 1e-9, between / x.var(axis=0), 0.0)
    np.testing.assert_allclose(told, expected, atol=1e-4)
    assert told.argmax() == 5
    assert told[6] == 0


def test_overexpression_is_to_the_level_that_most_expressing_cells_are_below():
    x = expression(500)
    x[:, 4] = 0
    high = anchors_of(any_networks(), x).high()
    assert high[4] == 0
    column = x[:, 9]
    np.testing.assert_allclose(high[9], np.quantile(column[column > 0], 0.99), rtol=1e-5)
    assert rule_of("overexpress", high)(9) == Change("set", float(high[9]))
    assert rule_of(2.0, high)(9) == Change("multiply", 2.0)
    assert rule_of("knockout", high)(9) == KNOCK_OUT
    with pytest.raises(ConfigError, match="'more' is no change"):
        rule_of("more", high)


def test_rare_clusters_are_asked_more_often():
    codes = np.repeat([0, 1], [9900, 100])
    cells = anchor_cells(codes, 1000, seed=0)
    assert len(np.unique(cells)) == 1000
    assert (codes[cells] == 1).sum() > 40
    np.testing.assert_array_equal(anchor_cells(codes[:50], 1000, 0), np.arange(50))


@pytest.mark.parametrize(
    ("x", "said"), [(np.zeros((5, 3)), "422 genes"), (np.full((5, N_GENES), np.nan), "finite")]
)
def test_expression_that_does_not_fit_is_refused(x, said):
    with pytest.raises(DataError, match=said):
        anchors_of(any_networks(), x.astype(np.float32))


def field_of(n=400, n_landmarks=32):
    anchors = anchors_of(any_networks(), expression(n))
    return ShiftField(anchors, n_landmarks, seed=0), anchors


def test_landmarks_keep_the_mean_shift():
    field, anchors = field_of()
    edit = Edit.of(CHANGES[1], NAMES)
    table = run(field.table_job([edit], 0, 1), bar=False)[0]
    _, shifts = anchors.shifts(edit)
    total = (field._size[:, None] * table).sum(dim=0)
    torch.testing.assert_close(total, shifts.sum(dim=0), atol=1e-3, rtol=1e-4)


def test_a_shift_that_is_the_same_everywhere_is_so_between_landmarks():
    field, _ = field_of()
    table = torch.tensor([[0.3, -0.2], [0.0, 1.0]])[:, None].expand(2, len(field.centres), 2)
    states = 3 * torch.randn(50, 2)
    found = field.at(table, states)
    torch.testing.assert_close(found, table[:, :1].expand(2, 50, 2), atol=1e-5, rtol=1e-5)


def test_shifts_are_those_of_the_landmark_that_a_far_state_is_nearest_to():
    field, _ = field_of()
    table = torch.randn(1, len(field.centres), 2)
    states = 200 * torch.nn.functional.normalize(torch.randn(20, 2), dim=1)
    near = torch.cdist(states, field.centres).argmin(dim=1)
    torch.testing.assert_close(field.at(table, states)[0], table[0, near], atol=1e-4, rtol=1e-4)


def flowed(potential, starts, schedule, held, bend=1.0):
    job = held_flow_job(
        potential, starts, schedule, held, bend=bend, stream=0, progress=Progress("flow")
    )
    return run(job, bar=False)


class Linear:
    """A field δ(u) = a u, one a per perturbation."""

    def at(self, table, states):
        return table[:, :1] * states


STARTS = torch.tensor([[1.0, 2.0], [-0.5, 0.3], [0.0, -1.0]])


@pytest.mark.parametrize("released_at", [None, 0.7])
def test_a_steady_shift_moves_the_start_and_no_more(released_at):
    # du/dt = −k (u + δ) with δ constant: w = u + δ decays from z0 + δ, held or not.
    field, _ = field_of()
    delta = torch.tensor([[0.5, -1.0], [0.0, 0.0]])
    table = delta[:, None].expand(2, len(field.centres), 2)
    ends = flowed(Bowl(2.0), STARTS, Schedule(1.5, 0.1, released_at), (field, table), bend=2.0)
    expected = (STARTS[None] + delta[:, None]) * np.exp(-3.0)
    torch.testing.assert_close(ends, expected, atol=2e-4, rtol=0)
    plain = flowed(Bowl(2.0), STARTS, Schedule(1.5, 0.1), None, bend=2.0)
    torch.testing.assert_close(ends[1], plain[0], atol=1e-6, rtol=0)


def test_a_held_gene_acts_all_the_way_and_no_more_often_for_a_finer_look():
    # δ = a u: u decays at k (1 + a); w is (1 + a) u. The look at δ is of first order in dt.
    a, k, T = 0.5, 1.0, 2.0
    expected = (1 + a) * STARTS * np.exp(-k * (1 + a) * T)
    errors = []
    for dt in (0.2, 0.1, 0.05):
        held = (Linear(), torch.full((1, 1, 1), a))
        ends = flowed(Bowl(k), STARTS, Schedule(T, dt), held)
        errors.append(float((ends[0] - expected).abs().max()))
    assert errors[0] < 0.03
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]


def test_genes_that_are_let_go_act_no_more():
    a, k, T, at = 0.5, 1.0, 2.0, 0.5
    held = (Linear(), torch.full((1, 1, 1), a))
    ends = flowed(Bowl(k), STARTS, Schedule(T, 0.01, at), held)
    expected = (1 + a) * STARTS * np.exp(-k * (1 + a) * at) * np.exp(-k * (T - at))
    torch.testing.assert_close(ends[0], expected, atol=5e-3, rtol=0)


def test_noise_is_the_same_with_a_perturbation_and_without():
    field, _ = field_of()
    table = torch.zeros(3, len(field.centres), 2)
    table[2] = 0.4
    schedule = Schedule(1.0, 0.25, sigma=0.5, seed=3)
    plain = flowed(Bowl(), STARTS, schedule, None)
    ends = flowed(Bowl(), STARTS, schedule, (field, table))
    torch.testing.assert_close(ends[:2], plain.expand(2, -1, -1), atol=1e-6, rtol=0)
    # In a bowl noise adds what it adds without a shift.
    torch.testing.assert_close(ends[2] - plain[0], ends[2, :1] - plain[0, :1] + 0 * STARTS,
                               atol=1e-5, rtol=0)  # fmt: skip
    other = flowed(Bowl(), STARTS, Schedule(1.0, 0.25, sigma=0.5, seed=4), None)
    assert (other - plain).abs().min() > 1e-3


def test_noise_settles_to_its_stationary_law():
    starts = torch.zeros(4000, 2)
    ends = flowed(Bowl(2.0), starts, Schedule(4.0, 0.5, sigma=0.8), None, bend=2.0)
    assert abs(float(ends.var()) - 0.8**2 / 4) < 0.01


def test_ground_that_no_step_is_short_enough_for_is_refused():
    class Spike(Bowl):
        def gradient(self, z):
            return torch.full_like(z, float("nan"))

    with pytest.raises(ConfigError, match="leave the ground"):
        flowed(Spike(), STARTS, Schedule(1.0, 0.5), None)


@pytest.mark.parametrize("terminal", [None, ("A", "C")])
def test_votes_are_those_of_the_nearest_cells(terminal):
    rng = np.random.default_rng(0)
    cells, ends = rng.normal(size=(300, 4)), rng.normal(size=(120, 4))
    labels = rng.choice(["A", "B", "C"], 300)
    votes = EndVotes(torch.tensor(cells, dtype=torch.float32), labels, 15, terminal)
    found = votes.shares(torch.tensor(ends, dtype=torch.float32))
    voters = voters_of_clusters(labels, 300, terminal)
    expected = nearest_vote(ends, cells, voters.labels, k=15)
    order = [expected.names.index(name) for name in votes.names]
    np.testing.assert_allclose(found, expected.probabilities[:, order], atol=1e-6)


def test_a_great_many_cells_are_stood_for_by_some():
    rng = np.random.default_rng(0)
    z = torch.tensor(rng.normal(size=(20_000, 2)), dtype=torch.float32)
    labels = np.where(z[:, 0] > 0, "right", "left")
    votes = EndVotes(z, labels, 15)
    assert (votes.n_voters, votes.n_of) == (8192, 20_000)
    shares = votes.shares(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(shares, [[0, 1], [1, 0]], atol=1e-6)


def test_more_votes_than_cells_are_refused():
    with pytest.raises(ConfigError, match="k is 16"):
        EndVotes(torch.zeros(5, 2), ["A"] * 5, 16)
