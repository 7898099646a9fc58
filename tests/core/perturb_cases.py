"""Tissues whose genes are wired by known betas, and perturbations written down densely."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd

from celldyn.betas import BetasConfig
from celldyn.betas.field import BetaField
from celldyn.betas.modulators import Modulators

GENES = ["A", "B", "C", "D", "E", "F", "G", "La", "Lb", "Ra", "Rb", "Quiet"]
RADIUS, CONTACT = 60.0, 25.0
RADII = {"La": RADIUS, "Lb": CONTACT, "A": RADIUS, "La_Lb": CONTACT}


def wiring(*, complexes=False):
    """Genes in several roles at once: A is factor and ligand, B factor and receptor."""
    lr = (("La", "Ra"), ("Lb", "B"), ("A", "Rb"), ("La", "Rb"))
    tfl = (("La", "A"), ("Lb", "C"))
    if complexes:
        lr = (*lr, ("La", "Ra_Rb"), ("La_Lb", "Ra"), ("Lb", "Ra_Quiet"))
    return {
        "C": Modulators(("A", "B"), lr[:2], tfl[:1], RADII),
        "D": Modulators(("C",), lr, tfl, RADII),
        "E": Modulators(("A", "D"), lr[2:], (), RADII),
        "La": Modulators(("C", "E"), lr[1:3], tfl[1:], RADII),
        "Ra": Modulators(("A", "B", "E"), (), tfl, RADII),
        "F": Modulators((), (), (), RADII),
    }


def tissue(n=90, seed=0, *, sections=False, thresholds=False, kernel="truncated", **config):
    """Return an AnnData and the config that its betas are fitted with."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(2.0, 0.5, (n, len(GENES))) * (rng.random((n, len(GENES))) > 0.2)
    X[:, -1] = 0.0
    kind = rng.integers(0, 3, n)
    obs = pd.DataFrame(
        {
            "type": np.array(["x", "y", "z"])[kind],
            "section": np.where(np.arange(n) % 2, "two", "one"),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    adata = ad.AnnData(X, obs=obs, var=pd.DataFrame(index=GENES))
    adata.obsm["spatial"] = rng.uniform(0, 150, (n, 2))
    if thresholds:
        table = (rng.random((n, len(GENES))) > 0.3).astype(float)
        columns = [gene for gene in GENES if gene not in ("Rb", "A")]
        adata.uns["cell_thresholds"] = pd.DataFrame(
            table[:, [GENES.index(gene) for gene in columns]], adata.obs_names, columns
        )
    options = {"layer": None, "cluster_annot": "type", "kernel": kernel}
    options["section_key"] = "section" if sections else None
    return adata, BetasConfig(target_gene="C", **(options | config))


def fields_of(adata, *, seed=1, complexes=False, varying=(), scale=0.25):
    """Return random betas: of each type, or of each cell for the genes that vary."""
    rng = np.random.default_rng(seed)
    codes = pd.Categorical(adata.obs["type"]).codes.astype(np.intp)
    fit = np.where(codes == 2, -1, codes)  # one type is skipped
    fields = {}
    for k, (gene, m) in enumerate(wiring(complexes=complexes).items()):
        of_cell = codes if k % 2 else fit
        n_fits = 3 if k % 2 else 2
        coefficients = scale * rng.normal(size=(n_fits, 1 + len(m)))
        coefficients[:, 4::5] = 0.0
        dense = None
        if gene in varying:
            dense = (scale * rng.normal(size=(adata.n_obs, 1 + len(m)))).astype(np.float32)
            dense[of_cell < 0] = 0.0
        fields[gene] = BetaField(gene, m, coefficients, of_cell, dense)
    return fields


def dense_kernel(adata, config, radius):
    """Write down the kernel over all pairs of cells."""
    xy = adata.obsm["spatial"]
    d = np.sqrt(((xy[:, None] - xy[None]) ** 2).sum(axis=2))
    section = adata.obs["section"].to_numpy() if config.section_key else np.zeros(len(xy))
    same = section[:, None] == section[None]
    if config.kernel == "truncated":
        w = np.where(d <= radius, 0.001 ** ((d / radius) ** 2), 0.0)
    else:
        w = np.exp(-(d**2) / (2 * radius**2))
        w[w < 1e-6] = 0.0
    w = w * same
    if not config.include_self:
        np.fill_diagonal(w, 0.0)
    if config.normalisation == "weights":
        total = w.sum(axis=1, keepdims=True)
        w = w / np.where(total > 0, total, 1.0)
    elif config.normalisation == "n_cells":
        w = w / same.sum(axis=1, keepdims=True)
    return config.scale_factor * w


class Dense:
    """A tissue with everything dense: one matrix per reach, one loop per gene."""

    def __init__(self, adata, config, fields, *, missing):
        self.X0 = np.array(adata.X)
        self.names = list(adata.var_names)
        self.fields = fields
        self.kernels = {r: dense_kernel(adata, config, r) for r in set(RADII.values())}
        table = adata.uns.get("cell_thresholds")
        self.active = np.ones(self.X0.shape)
        if table is not None:
            whole = table.reindex(columns=self.names, fill_value=float(missing))
            self.active = (whole.to_numpy() > 0).astype(float)

    def level(self, X, name):
        parts = [self.names.index(part) for part in name.split("_")]
        return X[:, parts].min(axis=1)

    def heard(self, X, name):
        level = self.level(X, name)
        return np.where(level <= 1e-9, 0.0, level)

    def gate(self, name):
        return self.level(self.active, name)

    def gated(self, X, name):
        return self.heard(X, name) * self.gate(name)

    def received(self, X, ligand, *, gated):
        sent = self.gated(X, ligand) if gated else self.heard(X, ligand)
        return self.kernels[RADII[ligand]] @ sent

    def predict(self, X, gene):
        """Return the model of one gene in every cell."""
        field = self.fields[gene]
        m, betas = field.modulators, field.values()
        columns = [self.level(X, tf) for tf in m.regulators]
        columns += [self.received(X, li, gated=True) * self.gated(X, re) for li, re in m.lr]
        columns += [self.received(X, li, gated=False) * self.level(X, tf) for li, tf in m.tfl]
        return betas[:, 0] + sum((b * x for b, x in zip(betas.T[1:], columns, strict=True)), 0.0)


def dense_corrected(dense, targets, rows, forced, n_steps, bounds, *, until=None):
    """Carry the change on by the difference of predictions."""
    X0, X = dense.X0, dense.X0.copy()
    at = [dense.names.index(gene) for gene in targets]
    X[np.ix_(rows, at)] = forced
    before = {gene: dense.predict(X0, gene) for gene in dense.fields}
    for step in range(1, n_steps + 1):
        new = X0.copy()
        for gene in dense.fields:
            new[:, dense.names.index(gene)] += dense.predict(X, gene) - before[gene]
        X = bounded(new, X0, bounds)
        if until is None or step < until:
            X[np.ix_(rows, at)] = forced
    return X - X0


def bounded(X, X0, bounds):
    if bounds == "none":
        return X
    low = X0.min(axis=0) if bounds == "range" else np.zeros(X0.shape[1])
    return np.clip(X, low, X0.max(axis=0))


def dense_splash(dense, gene, w, w_tfl, G, *, scale=1.0, cap=None):
    """Return {modulator gene: (n,) derivative} of one gene; B.1 line by line."""
    field = dense.fields[gene]
    m, betas = field.modulators, field.values()[:, 1:]
    J = {}

    def add(name, value):
        J[name] = J.get(name, 0.0) + value

    k = 0
    for tf in m.regulators:
        add(tf, betas[:, k])
        k += 1
    for ligand, receptor in m.lr:
        R = G[:, dense.names.index(receptor)]
        add(receptor, scale * np.where(R > 0, betas[:, k] * w[ligand], 0.0))
        add(ligand, scale * betas[:, k] * R)
        k += 1
    for ligand, tf in m.tfl:
        add(ligand, scale * betas[:, k] * G[:, dense.names.index(tf)])
        add(tf, scale * betas[:, k] * w_tfl[ligand])
        k += 1
    return {name: value if cap is None else np.clip(value, -cap, cap) for name, value in J.items()}


def dense_released(dense, targets, rows, forced, n_steps, bounds, *, version, scale=1.0, cap=None):
    """Carry the change on as B.2 says that the two versions do."""
    X0, names = dense.X0, dense.names
    at = [names.index(gene) for gene in targets]
    given = np.zeros_like(X0)
    given[np.ix_(rows, at)] = forced - X0[np.ix_(rows, at)]
    D = given.copy()
    lr = sorted({x for field in dense.fields.values() for x, _ in field.modulators.lr})
    tfl = sorted({x for field in dense.fields.values() for x, _ in field.modulators.tfl})
    ligands = sorted({*lr, *tfl})

    def filtered(X):
        return np.where(X <= 1e-9, 0.0, X) * dense.active

    def largest(X):
        m = {}
        for name in ligands:
            parts = [dense.received(X, name, gated=True)] if name in lr else []
            parts += [dense.received(X, name, gated=False)] if name in tfl else []
            m[name] = np.maximum.reduce(parts)
        return m

    m0 = largest(X0)
    w_tfl = {name: dense.received(X0, name, gated=False) for name in tfl}
    w = dict(m0)
    if version == "0.1.21":
        w = {name: dense.received(X0, name, gated=True) for name in lr}
    X = X0.copy()
    for _ in range(n_steps):
        G = filtered(X)
        J = {g: dense_splash(dense, g, w, w_tfl, G, scale=scale, cap=cap) for g in dense.fields}
        X = X0 + D
        m1 = largest(X)
        if version == "0.1.21":
            w = m1
        swapped = D.copy()
        for name in ligands:
            g = names.index(name)
            swapped[:, g] = D[:, g] + (m1[name] - m0[name]) - (X - X0)[:, g]
        D = np.zeros_like(X0)
        for gene, derivative in J.items():
            D[:, names.index(gene)] = sum(
                (value * swapped[:, names.index(name)] for name, value in derivative.items()), 0.0
            )
        D = np.where(given != 0, given, D)
        D = bounded(X0 + D, X0, bounds) - X0
    D[np.ix_(rows, at)] = given[np.ix_(rows, at)]
    return D
