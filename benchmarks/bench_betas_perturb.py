"""A gene knocked out and followed for four steps, beside the way SpaceTravLR does it.

CPU seconds of one thread; `python benchmarks/bench_betas_perturb.py [CELLS] [GENES]`. The
reference has the betas of every cell and goes gene by gene: five products, summed by gene, times
the change of each. Its way is stated in `reference_step` on a few genes and scaled to all, since
every gene costs the same. Where CELLDYN_PEER_PYTHON is set (see peer.py) SpaceTravLR itself runs
too, on a few genes, and version 0.1.18 here must come to the same.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from peer import Job, run_peer
from threadpoolctl import threadpool_limits

from celldyn.betas import (
    BetasConfig,
    PerturbConfig,
    load_models_job,
    perturb_job,
    prepare_perturb,
)
from celldyn.betas.field import BetaField
from celldyn.betas.modulators import Modulators
from celldyn.betas.panel import BetaStore, PanelConfig, panel_job, prepare_panel
from celldyn.data import samples
from celldyn.jobs import run
from celldyn.perturbation import Perturbation
from celldyn.simulate.scoring.environment import true_effect

RADIUS, CONTACT = 100.0, 30.0
N_TYPES, N_FACTORS, N_LIGANDS, N_PAIRS, N_TFL = 6, 100, 31, 320, 60
FACTORS_EACH = 15
A_FEW = 20


def tissue(n_cells, n_genes, seed=0):
    """Return a tissue at 15 µm between cells, its models, and betas of every gene."""
    rng = np.random.default_rng(seed)
    genes = [f"G{k}" for k in range(n_genes)]
    ligands = [f"Lig{k}" for k in range(N_LIGANDS)]
    receptors = [f"Rec{k}" for k in range(30)]
    names = [*genes, *ligands, *receptors]
    X = rng.gamma(1.5, 0.7, (n_cells, len(names)))
    codes = rng.integers(0, N_TYPES, n_cells)
    obs = pd.DataFrame({"cell_type_int": codes}, index=[f"c{i}" for i in range(n_cells)])
    adata = ad.AnnData(X, obs=obs, var=pd.DataFrame(index=names))
    adata.layers["imputed_count"] = X
    side = np.sqrt(n_cells * np.pi * RADIUS**2 / 31)
    adata.obsm["spatial"] = rng.uniform(0, side, (n_cells, 2))
    every = [(ligand, receptor) for ligand in ligands for receptor in receptors]
    lr = tuple(every[k] for k in np.sort(rng.permutation(len(every))[:N_PAIRS]))
    reach = {name: CONTACT if k < 7 else RADIUS for k, name in enumerate(ligands)}
    fields = {}
    for k, gene in enumerate(genes):
        others = [genes[j] for j in rng.permutation(min(N_FACTORS, n_genes)) if j != k]
        tfs = tuple(sorted(others[:FACTORS_EACH]))
        if k % 3 == 0 and genes[1] not in (gene, *tfs):
            tfs = (*tfs[1:], genes[1])
        tfl = tuple((ligands[j % N_LIGANDS], tfs[j % len(tfs)]) for j in range(N_TFL))
        m = Modulators(tfs, lr, tuple(dict.fromkeys(tfl)), reach)
        coefficients = rng.normal(0, 0.02, (N_TYPES, 1 + len(m)))
        fields[gene] = BetaField(gene, m, coefficients, codes.astype(np.intp))
    return adata, fields


def model(**more):
    return BetasConfig(target_gene="G0", **more)


def ours(adata, fields, config, fitted):
    """Return CPU seconds and the result."""
    inputs = prepare_perturb(
        adata, Perturbation.knock_out("G1"), config, fields=fields, model=fitted
    )
    started = time.process_time()
    result = run(perturb_job(inputs, config), bar=False)
    return time.process_time() - started, result


def reference_step(betas, layout, w, w_tfl, expression, change):
    """One gene of one step: derivatives of every cell by every gene, times their change.

    `betas` (n_cells, n_modulators) lie in memory, as the reference has them.
    """
    n_tf, lig, rec, lt, tf, order, starts, at = layout
    lr_betas, tfl_betas = betas[:, n_tf : n_tf + len(lig)], betas[:, n_tf + len(lig) :]
    receptor = expression[:, rec]
    derivatives = np.concatenate(
        [
            betas[:, :n_tf],
            np.where(receptor > 0, lr_betas * w[:, lig], 0.0),
            lr_betas * receptor,
            tfl_betas * w_tfl[:, lt],
            tfl_betas * expression[:, tf],
        ],
        axis=1,
    )
    by_gene = np.add.reduceat(derivatives[:, order], starts, axis=1)
    return (by_gene * change[:, at]).sum(axis=1)


def layout_of(field, place):
    m = field.modulators
    tfs = [place[name] for name in m.regulators]
    lig, rec = ([place[pair[k]] for pair in m.lr] for k in (0, 1))
    lt, tf = ([place[pair[k]] for pair in m.tfl] for k in (0, 1))
    by = np.array([*tfs, *rec, *lig, *tf, *lt])
    order = np.argsort(by, kind="stable")
    at, starts = np.unique(by[order], return_index=True)
    return len(tfs), lig, rec, lt, tf, order, starts, at


def reference(adata, fields, n_steps=4):
    """Return CPU seconds per gene of the reference's inner loop, from a few genes."""
    rng = np.random.default_rng(1)
    X = np.asarray(adata.X)
    place = {name: k for k, name in enumerate(adata.var_names)}
    w, w_tfl, change = (rng.random(X.shape) for _ in range(3))
    taken = 0.0
    for field in fields.values():
        betas, layout = field.values()[:, 1:], layout_of(field, place)
        started = time.process_time()
        for _ in range(n_steps):
            reference_step(betas, layout, w, w_tfl, X, change)
        taken += time.process_time() - started
    return taken / len(fields)


def peer_perturbation(adata, fields):
    """Run SpaceTravLR on these genes: its seconds and the change of each, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adata.write_h5ad(folder / "tissue.h5ad")
        arrays = {}
        for gene, field in fields.items():
            columns = ["beta0", *(f"beta_{name}" for name in field.modulators.names)]
            arrays[f"{gene}/columns"], arrays[f"{gene}/values"] = np.array(columns), field.values()
        np.savez(folder / "betas.npz", **arrays)
        m = next(iter(fields.values())).modulators
        secreted = ["Secreted Signaling" if m.radii[x] == RADIUS else "Contact" for x, _ in m.lr]
        table = pd.DataFrame(m.lr, columns=["ligand", "receptor"])
        table = table.assign(pathway="", signaling=secreted)
        table.to_csv(folder / "lr.csv", index=False)
        link = {"source": "G1", "target": "G0", "coef_mean": 1.0, "p": 0.0}
        grn = pd.DataFrame([{"cluster": k, **link} for k in range(N_TYPES)])
        grn.to_csv(folder / "grn.csv", index=False)
        return run_peer(
            Job(
                adata=str(folder / "tissue.h5ad"),
                grn=str(folder / "grn.csv"),
                lr=str(folder / "lr.csv"),
                radius=RADIUS,
                contact_distance=CONTACT,
                stages=False,
                perturb={
                    "gene": "G1",
                    "value": 0,
                    "n_propagation": 4,
                    "betas": str(folder / "betas.npz"),
                },
            )
        )


def varied(fields):
    """Return the same genes with betas of every cell."""
    return {
        gene: replace(field, dense=field.values().astype(np.float32))
        for gene, field in fields.items()
    }


def stronger_pairs(fields, factor):
    """Return the same genes with larger betas of pairs: received signals are divided by N."""
    scaled = {}
    for gene, field in fields.items():
        coefficients = field.coefficients.copy()
        coefficients[:, 1 + len(field.modulators.regulators) :] *= factor
        scaled[gene] = replace(field, coefficients=coefficients)
    return scaled


def beside_peer(adata, fields, n_genes):
    """Print how SpaceTravLR itself fares on a few genes, and that both agree."""
    few = stronger_pairs(fields, adata.n_obs / 8)
    half = dict(list(few.items())[: len(few) // 2])
    found = peer_perturbation(adata, few)
    of_half = None if found is None else peer_perturbation(adata, half)
    if found is None or of_half is None:
        return
    config = PerturbConfig(version="0.1.18", negligible=0.0)
    mine, result = ours(adata, few, config, model(normalisation="n_cells"))
    after = result.expression_after(adata)
    theirs = pd.DataFrame(found.arrays["perturbed"], columns=found.arrays["perturbed/genes"])
    worst = np.abs(after.to_numpy() - theirs[list(after.columns)].to_numpy()).max()
    seconds = found.seconds["perturbation"]
    each = (seconds - of_half.seconds["perturbation"]) / (len(few) - len(half))
    print(
        f"SpaceTravLR {found.version}, {len(few)} genes: {seconds:.1f} s, here {mine:.2f} s; "
        f"largest difference {worst:.1e} where the largest change is "
        f"{np.abs(result.delta[:, result.responds]).max():.2f}; a gene more costs {each:.2f} s, "
        f"{n_genes} genes {seconds + each * (n_genes - len(few)):.0f} s"
    )


def beside_truth():
    """Print how close predicted knock-outs come to those of a simulated tissue."""
    adata = samples.load("two_niches")
    targets = ["Target1", "Target2", "Target3"]
    config = PanelConfig(
        genes=targets,
        cluster_annot="cell_type",
        colinks_path=str(samples.path("grn.csv")),
        lr=str(samples.path("ligand_receptor.csv")),
    )
    with tempfile.TemporaryDirectory() as name:
        panel = prepare_panel(adata, config)
        store = BetaStore.create(Path(name) / "betas.zarr", panel, config)
        run(panel_job(panel, config, store), bar=False)
        models = run(load_models_job(store), bar=False)
    at = [adata.var_names.get_loc(target) for target in targets]
    types = adata.obs["cell_type"].to_numpy()
    print("knock-out on two_niches: slope of the mean effects by cell type, and error over that")
    print("of no effect: here; as 0.1.18")
    for gene in ("Tf1", "Tf3", "Lig1", "Lig2", "Rec1", "Rec2", "Rec3"):
        gone, said = Perturbation.knock_out(gene), []
        true = true_effect(adata, gone)[:, at].toarray()
        for version in ("corrected", "0.1.18"):
            options = PerturbConfig(version=version)
            inputs = prepare_perturb(adata, gone, options, fields=models)
            result = run(perturb_job(inputs, options), bar=False)
            predicted = np.column_stack([result.of(target) for target in targets])
            a, b = (
                np.array([part[types == kind].mean(axis=0) for kind in np.unique(types)])
                for part in (true, predicted)
            )
            left = np.square(true - predicted).sum() / np.square(true).sum()
            said.append(f"{(a * b).sum() / (a * a).sum():.2f}, {left:.2f}")
        print(f"  {gene}: {'; '.join(said)}")


def main(n_cells=5000, n_genes=1000):
    adata, fields = tissue(n_cells, n_genes)
    p = np.mean([len(field.modulators) for field in fields.values()])
    few = dict(list(fields.items())[:A_FEW])
    with threadpool_limits(limits=1):
        ours(adata, varied(few), PerturbConfig(), model())  # compiles
        slow = reference(adata, few) * n_genes
        taken = ours(adata, fields, PerturbConfig(), model())[0]
        print(
            f"betas_perturb {n_cells} cells x {n_genes} genes, p = {p:.0f}, 4 steps: reference "
            f"{slow:.1f} s ({A_FEW} genes scaled), here {taken:.2f} s; ratio {slow / taken:.1f}"
        )
        released = ours(adata, fields, PerturbConfig(version="0.1.18"), model())[0]
        print(f"as 0.1.18: {released:.2f} s; ratio {slow / released:.1f}")
        dense = varied(dict(list(fields.items())[: 2 * A_FEW]))
        one = ours(adata, dict(list(dense.items())[:1]), PerturbConfig(), model())[0]
        each = (ours(adata, dense, PerturbConfig(), model())[0] - one) / (len(dense) - 1)
        varying = one + each * (n_genes - 1)
        print(
            f"betas of every cell: {varying:.1f} s ({len(dense)} genes scaled); "
            f"ratio {slow / varying:.1f}"
        )
        tracemalloc.start()
        ours(adata, fields, PerturbConfig(), model())
        print(f"most memory allocated: {tracemalloc.get_traced_memory()[1] / 1e6:.0f} MB")
        tracemalloc.stop()
        beside_truth()
        beside_peer(adata, few, n_genes)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
