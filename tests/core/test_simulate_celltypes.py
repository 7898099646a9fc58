"""Cell types of a section: shares, domains, patches, wanted neighbours, mixed borders."""

from __future__ import annotations

import subprocess
import sys
import warnings
from functools import cache

import numpy as np
import pytest
from scipy import sparse

from celldyn.errors import ConfigError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig
from celldyn.simulate.layout.borders import mixed_borders
from celldyn.simulate.layout.celltypes import celltypes
from celldyn.simulate.layout.colouring import coloured
from celldyn.simulate.layout.domains import celltype_codes, domain_codes, domains
from celldyn.simulate.layout.graph import neighbours_job
from celldyn.simulate.layout.place import place
from celldyn.simulate.layout.potts import Wishes, neighbour_shares, pair_counts, potts_job
from celldyn.simulate.layout.quotas import Quotas

SHARES = np.array([0.5, 0.3, 0.2])


def config(n_cells=3000, **changes):
    given = {
        "n_celltype": 3,
        "n_genes": 20,
        "n_markers": 1,
        "celltype_proportion": [0.5, 0.3, 0.2],
    }
    return SimulationConfig(n_cells=n_cells, **(given | changes))


@cache
def tissue(n_cells=3000):
    """Positions and graph, which no parameter of the types changes."""
    xy = place(config(n_cells), n_cells, 0)
    return xy, run(neighbours_job(xy), bar=False)


def made(n_cells=3000, *, fixed=None, **changes):
    """Codes and domains of a section."""
    simulation = config(n_cells, **changes)
    xy = tissue(n_cells)[0]
    domain = domains(simulation, xy, 0)
    return celltypes(simulation, xy, domain, 0, fixed=fixed), domain


def near(codes, n_cells=3000, n_types=3):
    return neighbour_shares(pair_counts(tissue(n_cells)[1], codes, n_types))


def clumping(codes, n_cells=3000):
    """Excess of a type among its own neighbours: 0 by chance, 1 if types never touch."""
    shares = np.bincount(codes, minlength=3) / codes.size
    return float(((near(codes, n_cells).diagonal() - shares) / (1 - shares)) @ shares)


def attraction(shares, strength):
    return (1 - strength) * np.tile(shares, (len(shares), 1)) + strength * np.eye(len(shares))


LAYERED = np.array([[0.8, 0.2, 0.0], [0.2, 0.6, 0.2], [0.0, 0.2, 0.8]])
EXCLUSIVE = (1 - np.eye(5)) / 4
TARGETS = {
    "attraction": (SHARES, attraction(SHARES, 0.6)),
    "chains": (np.full(3, 1 / 3), LAYERED),
    "repulsion": (np.full(5, 0.2), EXCLUSIVE),
    "patches": (np.full(5, 0.2), attraction(np.full(5, 0.2), 0.75)),
}


@pytest.mark.parametrize("purity", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.7, 0.1, 0.1, 0.05, 0.05], [1.0], [1, 0]])
def test_proportions_are_met_in_a_hundredth(purity, shares):
    domain = np.repeat([0, 1, 2], [500, 120, 380])
    types = celltype_codes(domain, np.array(shares, dtype=float), purity, seed=0, stage="type")
    got = np.bincount(types, minlength=len(shares)) / domain.size
    np.testing.assert_allclose(got, shares, atol=0.01)


def test_purity_separates_types():
    domain = np.repeat([0, 1], 500)
    mixed, pure = (
        celltype_codes(domain, np.array([0.5, 0.5]), purity, seed=0, stage="type")
        for purity in (0.0, 1.0)
    )
    assert (mixed == domain).mean() == pytest.approx(0.5, abs=0.01)
    assert (pure == domain).mean() > 0.99


def test_more_domains_than_types_and_an_empty_domain():
    domain = np.repeat([0, 2, 3], [40, 40, 20])
    types = celltype_codes(domain, np.array([0.5, 0.5]), 0.9, seed=0, stage="type")
    np.testing.assert_array_equal(np.bincount(types), [50, 50])


@pytest.mark.parametrize("pattern", ["voronoi", "layers"])
def test_without_continuity_types_are_as_ever(pattern):
    codes, domain = made(n_domains=3, domain_pattern=pattern)
    simulation, xy = config(n_domains=3), tissue()[0]
    canvas = simulation.canvas_um
    np.testing.assert_array_equal(
        domain, domain_codes(xy, canvas, 3, pattern, simulation.seed, "layout/0/domain")
    )
    expected = celltype_codes(domain, SHARES, 0.8, simulation.seed, "layout/0/type")
    assert codes.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"continuity": 0.3},
        {"continuity": 1.0, "fuzziness": 0.5},
        {"continuity": 0.6, "n_domains": 4},
        {"domain_pattern": "gradient", "n_domains": 3},
        {"domain_pattern": "gradient", "continuity": 0.5},
        {"domain_pattern": "rings", "n_domains": 2, "domain_purity": 1.0, "continuity": 0.5},
        {"neighbour_target": attraction(SHARES, 0.5).tolist()},
        {"interaction": [[0.5, 0.5, 0], [0.5, 0, -1], [0, -1, 2]]},
        {"celltype_proportion": {"ct_0": 0.9, "ct_2": 0.1}, "continuity": 0.8},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_shares_are_exact_up_to_rounding(changes):
    codes, _ = made(**changes)
    wanted = config(**changes).proportions
    np.testing.assert_allclose(np.bincount(codes, minlength=3), wanted * 3000, atol=2)


def test_compositions_of_domains_hold_and_the_others_make_up():
    own = {"domain_1": {"ct_2": 3, "ct_0": 1}}
    for continuity in (0.0, 0.5):
        codes, domain = made(n_domains=3, domain_composition=own, continuity=continuity)
        inside = np.bincount(codes[domain == 1], minlength=3) / (domain == 1).sum()
        np.testing.assert_allclose(inside, [0.25, 0, 0.75], atol=0.003)
        short = (0.75 * (domain == 1).mean()) > 0.2
        if not short:
            np.testing.assert_allclose(np.bincount(codes) / 3000, SHARES, atol=0.001)


def test_compositions_that_contradict_the_shares_are_told():
    own = {f"domain_{k}": {"ct_1": 1.0} for k in range(2)}
    with pytest.warns(UserWarning, match="gets 1.000 of 'ct_1', not") as said:
        codes, _ = made(n_domains=2, domain_composition=own)
    assert len(said) == 1
    assert (codes == 1).all()
    # Without wanted shares there is nothing to contradict.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(n_domains=2, domain_composition=own, celltype_proportion=None)


@pytest.mark.parametrize("n_domains", [1, 3])
def test_along_a_gradient_types_change_within_domains(n_domains):
    codes, domain = made(
        domain_pattern="gradient",
        n_domains=n_domains,
        domain_purity=1.0,
        celltype_proportion=None,
    )
    x = tissue()[0][:, 0] / config().canvas_um[0]
    bins = np.minimum((x * 9).astype(int), 8)
    first, last = (
        np.array([(codes[bins == b] == celltype).mean() for b in range(9)]) for celltype in (0, 2)
    )
    assert first[0] > 0.9
    assert first[8] < 0.1
    assert (np.diff(first) < 0.06).all()
    assert (np.diff(last) > -0.06).all()
    # No jump: even where it is steepest, the change takes several ninths.
    assert np.abs(np.diff(first)).max() < 0.5
    if n_domains == 3:
        middle = domain == 1
        within = [first_of(codes[middle], x[middle], half) for half in (0, 1)]
        assert within[0] > within[1] + 0.1


def first_of(codes, x, half):
    return (codes[(x > np.median(x)) == half] == 0).mean()


@pytest.mark.parametrize("continuity", [0.0, 0.7])
def test_fixed_cells_stay_and_the_others_make_up_for_them(continuity):
    rng = np.random.default_rng(0)
    fixed = np.full(3000, -1)
    fixed[rng.choice(3000, 450, replace=False)] = 2
    fixed[rng.choice(3000, 100, replace=False)] = 1
    codes, _ = made(fixed=fixed, continuity=continuity, fuzziness=0.3)
    np.testing.assert_array_equal(codes[fixed >= 0], fixed[fixed >= 0])
    np.testing.assert_allclose(np.bincount(codes), SHARES * 3000, atol=2)


def test_too_many_fixed_cells_are_told():
    fixed = np.where(np.arange(3000) < 1500, 2, -1)
    with pytest.warns(UserWarning, match="gets 0.500 of 'ct_2', not the celltype_proportion") as w:
        codes, _ = made(fixed=fixed)
    assert len(w) == 1
    assert not (codes[1500:] == 2).any()
    ratio = np.bincount(codes[1500:], minlength=3)
    np.testing.assert_allclose(ratio / 1500, [0.625, 0.375, 0], atol=0.001)
    np.testing.assert_array_equal(made(fixed=np.full(3000, 1))[0], 1)


def test_continuity_makes_patches_that_grow_and_get_clean():
    found = [clumping(made(continuity=c)[0]) for c in (0.0, 0.1, 0.25, 0.5, 1.0)]
    assert found == sorted(found)
    assert abs(found[0]) < 0.03
    assert 0.3 < found[2] < 0.7
    assert found[4] > 0.85
    codes = made(continuity=1.0)[0]
    graph = tissue()[1].tocoo()
    same = codes[graph.row] == codes[graph.col]
    patches = sparse.csgraph.connected_components(
        sparse.coo_matrix((same[same], (graph.row[same], graph.col[same])), shape=graph.shape)
    )[1]
    size = np.bincount(patches)
    # The patch of the average cell.
    assert (size**2).sum() / 3000 > 150


def test_domains_still_act_on_patches():
    codes, domain = made(continuity=0.6, n_domains=3)
    for k in range(3):
        found = np.bincount(codes[domain == k], minlength=3)
        plain, _ = made(n_domains=3)
        np.testing.assert_array_equal(found, np.bincount(plain[domain == k], minlength=3))


@pytest.mark.parametrize("name", TARGETS)
def test_neighbours_come_out_as_wanted(name):
    shares, target = TARGETS[name]
    n_cells, n_types = 10_000, len(shares)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulation = {"n_celltype": n_types, "celltype_proportion": list(shares)}
        codes, _ = made(n_cells, **simulation, neighbour_target=target.tolist())
    np.testing.assert_allclose(near(codes, n_cells, n_types), target, atol=0.02)
    np.testing.assert_allclose(np.bincount(codes), shares * n_cells, atol=2)


def test_a_target_that_no_plane_allows_is_told():
    target = [[0.2, 0.5, 0.3], [5 / 6, 1 / 15, 1 / 10], [0.75, 0.15, 0.1]]
    with pytest.warns(UserWarning, match="of the neighbours of .* are .*, not") as said:
        made(neighbour_target=target)
    assert len(said) == 1


def test_interaction_attracts_and_repels():
    by_chance = near(made()[0])
    repels, attracts = np.zeros((2, 3, 3))
    repels[0, 0], attracts[1, 2], attracts[2, 1] = -1.0, 0.6, 0.6
    assert near(made(interaction=repels.tolist())[0])[0, 0] < by_chance[0, 0] - 0.05
    assert near(made(interaction=attracts.tolist())[0])[1, 2] > by_chance[1, 2] + 0.05


@pytest.mark.parametrize("coupling", [-0.5, 1.0])
def test_sampling_has_the_law_of_the_model(coupling):
    # Pairs of cells without other neighbours: alike with probability e^J / (1 + e^J).
    n_pairs = 20_000
    one, other = 2 * np.arange(n_pairs), 2 * np.arange(n_pairs) + 1
    ends = np.concatenate([one, other]), np.concatenate([other, one])
    graph = sparse.csr_matrix((np.ones(2 * n_pairs, dtype=np.float32), ends))
    codes = np.tile([0, 1], n_pairs)
    quotas = Quotas(np.zeros(2 * n_pairs, dtype=int), np.full((1, 2), n_pairs))
    wishes = Wishes(coupling * np.eye(2), 10)
    free = np.arange(2 * n_pairs)
    types = run(potts_job(graph, codes, free, quotas, wishes, 0, "type"), bar=False)
    expected = np.exp(coupling) / (1 + np.exp(coupling))
    assert (types[one] == types[other]).mean() == pytest.approx(expected, abs=0.012)
    assert types.sum() == n_pairs


@pytest.mark.parametrize("process", ["hardcore", "random", "clustered"])
def test_cells_of_one_colour_are_no_neighbours(process):
    xy = place(config(point_process=process), 3000, 0)
    graph = run(neighbours_job(xy), bar=False)
    parts = coloured(graph, np.arange(50, 3000), 0, "type")
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(50, 3000))
    assert len(parts) < 16
    for part in parts:
        assert graph[part][:, part].nnz == 0


@pytest.mark.parametrize("with_target", [False, True])
def test_compiled_and_numpy_sampling_agree_to_the_last_cell(with_target):
    graph, n_cells = tissue()[1], 3000
    rng = np.random.default_rng(0)
    free = np.sort(rng.choice(n_cells, 2500, replace=False))
    stratum = rng.integers(0, 2, free.size)
    codes = rng.integers(0, 3, n_cells)
    numbers = np.stack([np.bincount(codes[free][stratum == s], minlength=3) for s in (0, 1)])
    coupling = np.array([[0.5, -0.2, 0], [-0.2, 0.9, 0.1], [0, 0.1, 0.4]])
    target = attraction(SHARES, 0.5) if with_target else None
    results = []
    for compiled in (False, True):
        quotas, wishes = Quotas(stratum, numbers), Wishes(coupling, 25, target)
        job = potts_job(graph, codes, free, quotas, wishes, 1, "type", compiled=compiled)
        results.append(run(job, bar=False))
    np.testing.assert_array_equal(*results)
    assert (results[0] != codes).mean() > 0.2
    held = np.setdiff1d(np.arange(n_cells), free)
    np.testing.assert_array_equal(results[0][held], codes[held])


def test_threads_make_no_difference(monkeypatch):
    results = []
    for threads in (1, 2):
        monkeypatch.setattr("celldyn.simulate.parallel.usable_threads", lambda n=threads: n)
        results.append(made(10_000, continuity=0.4, fuzziness=0.2, n_domains=2)[0].tobytes())
    assert results[0] == results[1]


def test_a_small_section_compiles_nothing():
    script = (
        "import sys, warnings; warnings.simplefilter('ignore');"
        "from celldyn.jobs import run; from celldyn.simulate import SimulationConfig;"
        "from celldyn.simulate.layout.place import place;"
        "from celldyn.simulate.layout.domains import domains;"
        "from celldyn.simulate.layout.celltypes import celltypes;"
        "c = SimulationConfig(n_cells=500, n_celltype=3, n_genes=20, continuity=.5, n_domains=2);"
        "xy = place(c, 500, 0); celltypes(c, xy, domains(c, xy, 0), 0);"
        "print([m for m in ('numba', 'torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_fuzziness_exchanges_neighbours_at_borders_only(share):
    graph = tissue()[1]
    codes = made(continuity=1.0)[0]
    free = np.arange(100, 3000)
    mixed = mixed_borders(graph, codes, free, share, 0, "type")
    np.testing.assert_array_equal(np.bincount(mixed), np.bincount(codes))
    row = np.repeat(np.arange(3000), np.diff(graph.indptr))
    between = (row >= 100) & (graph.indices >= 100) & (codes[row] != codes[graph.indices])
    border = np.zeros(3000, dtype=bool)
    border[row[between]] = True
    changed = mixed != codes
    assert not changed[~border].any()
    assert changed[border].mean() == pytest.approx(share, abs=0.01)
    np.testing.assert_array_equal(mixed_borders(graph, codes, free, 0.0, 0, "type"), codes)


def test_neighbours_are_mutual_and_the_nearest():
    xy, graph = tissue()
    assert (graph != graph.T).nnz == 0
    assert not graph.diagonal().any()
    assert np.diff(graph.indptr).min() == 6
    some = xy[[5, 77, 1500]]
    order = np.argsort(((some[:, None] - xy) ** 2).sum(axis=2), axis=1)[:, 1:7]
    for row, nearest in zip((5, 77, 1500), order, strict=True):
        assert set(nearest) <= set(graph[[row]].indices)


@pytest.mark.parametrize("n_cells", [1, 2, 5])
def test_few_cells_and_cells_at_one_place(n_cells):
    simulation = config(n_cells, continuity=0.5, fuzziness=1.0)
    xy = np.full((n_cells, 2), 5.0)
    codes = celltypes(simulation, xy, np.zeros(n_cells, dtype=int), 0)
    assert codes.shape == (n_cells,)
    graph = run(neighbours_job(xy), bar=False)
    assert graph.nnz == n_cells * (n_cells - 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"interaction": [[0, 1], [1, 0]]}, "interaction must hold n_celltype = 3 rows of 3"),
        (
            {"interaction": [[0, 1, 0], [2, 0, 0], [0, 0, 0]]},
            "ct_0 with ct_1 is 1, ct_1 with ct_0",
        ),
        ({"interaction": (np.eye(3) * 99).tolist()}, "between -10 and 10"),
        ({"neighbour_target": [[1, 0, 0]]}, "neighbour_target must hold n_celltype = 3 rows of 3"),
        ({"neighbour_target": [[0.5, 0, 0], [0, 1, 0], [0, 0, 1]]}, "row of ct_0 must sum to 1"),
        ({"neighbour_target": [[2, -1, 0], [0, 1, 0], [0, 0, 1]]}, "at least 0"),
        (
            {"neighbour_target": [[0.5, 0.5, 0], [0.2, 0.8, 0], [0, 0, 1]]},
            "not feasible with celltype_proportion: type ct_0 wants 0.5 of ct_1, ct_1 0.2 of "
            r"ct_0; 0.5 \* 0.5 must equal 0.3 \* 0.2",
        ),
        (
            {"neighbour_target": np.eye(3).tolist(), "interaction": np.eye(3).tolist()},
            "give interaction or neighbour_target, not both",
        ),
        ({"celltype_proportion": {"T": 1.0}}, "'T' is no cell type"),
    ],
)
def test_what_neighbours_cannot_be_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        config(**changes)
    assert "\n" not in str(caught.value)


def test_targets_with_two_digits_are_feasible():
    config(neighbour_target=[[0.85, 0.09, 0.06], [0.15, 0.79, 0.06], [0.15, 0.09, 0.76]])
    # A type that is not there asks for nothing.
    absent = [[0.6, 0.4, 0], [0.4, 0.6, 0], [0.3, 0.3, 0.4]]
    config(celltype_proportion=[0.5, 0.5, 0], neighbour_target=absent)
