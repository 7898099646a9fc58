"""Panels of genes: seconds per gene of each mode, beside SpaceTravLR gene by gene.

`python benchmarks/bench_betas_panel.py --genes 100 --cells 5000` takes some minutes; the default
is 24 genes of 2,000 cells. CPU seconds of one process with one thread, all stages included (what
every gene shares is divided by the number of genes); the peer's are its constructor and its
linear models. A last line says what 1,000 genes of this tissue would take on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import anndata as ad
import numpy as np
from betas_tissue import write_tissue
from peer import Job, run_peer

from celldyn.betas.panel import BetaStore, PanelConfig, panel_job, prepare_panel
from celldyn.jobs import run

MODES = {
    "linear models, penalty given": {"penalty": "given", "heldout_folds": 0, "num_epochs": 0},
    "and 5 blocks held out": {"penalty": "given", "num_epochs": 0},
    "penalty chosen on 5 blocks": {"num_epochs": 0},
    "penalty chosen, smooth betas": {},
}
PEER_GENES = 2


def settings(files, genes, **more):
    """Return the panel of some genes."""
    given = {
        "genes": genes,
        "colinks_path": str(files.grn),
        "lr": str(files.lr),
        "ligand_target": str(files.ligand_target),
    }
    return PanelConfig(**(given | more))


def measure(adata, config, folder):
    """Return the CPU seconds of preparing and of fitting, the store, and bytes on disk."""
    started = time.process_time()
    inputs = prepare_panel(adata, config)
    prepared = time.process_time()
    store = BetaStore.create(folder, inputs, config)
    run(panel_job(inputs, config, store), bar=False)
    fitted = time.process_time()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return prepared - started, fitted - prepared, store, size


def warm_up(adata, files, genes, folder):
    """Compile what is compiled once, outside what is measured."""
    for name, more in MODES.items():
        config = settings(files, genes[:1], **more)
        measure(adata, config, folder / f"warm {name}.zarr")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--genes", type=int, default=24)
    parser.add_argument("--peer-genes", type=int, default=PEER_GENES)
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_tissue(folder, given.cells, n_others=given.genes)
        adata = ad.read_h5ad(files.adata)
        named = ("Tf", "Lig", "Rec", "Target")
        genes = [gene for gene in adata.var_names if not gene.startswith(named)][: given.genes]
        warm_up(adata, files, genes, folder)
        job = Job(
            *(str(getattr(files, part)) for part in ("adata", "grn", "lr", "ligand_target")),
            genes=tuple(genes[: given.peer_genes]),
            stages=False,
        )
        peer = run_peer(job)
        rival = None
        if peer is not None:
            each = [found["seconds"] for found in peer.genes.values()]
            rival = float(np.mean([found["constructor"] + found["seed"] for found in each]))
            print(f"SpaceTravLR {peer.version}: {rival:.2f} s a gene (constructor and seed)")
        for mode in given.modes:
            config = settings(files, genes, **MODES[mode])
            clock = time.perf_counter()
            before, during, store, size = measure(adata, config, folder / f"{mode}.zarr")
            each = (before + during) / len(genes)
            wall = time.perf_counter() - clock
            width = int(store.gene_table()["n_modulators"].median())
            ratio = "" if rival is None else f"; ratio {rival / each:.0f}"
            print(
                f"{len(genes)} genes, {adata.n_obs} cells, {width} modulators, {mode}: "
                f"{each:.3f} s a gene ({wall / 60:.1f} minutes of wall time in all), "
                f"{size / len(genes) / 1e3:.0f} kB a gene{ratio}"
            )
        minutes = 1000 * each / 60
        print(f"1,000 genes, {mode}: {minutes / 2:.0f} minutes on two cores")


if __name__ == "__main__":
    main()
