"""What the networks of one cluster learn from, and how they begin."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.seed_model import Linear
from celldyn.betas.varying.anchored import AnchoredNetwork, predicted
from celldyn.betas.varying.building import new_network
from celldyn.betas.varying.cluster import Cluster
from celldyn.betas.varying.evaluation import betas_by_parts
from celldyn.betas.varying.learning import Learner, Lessons
from celldyn.betas.varying.surroundings_maps import n_channels, source_job
from celldyn.devices import choose_device
from celldyn.jobs import Job


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What networks of one or several genes learn from in one cluster.

    Parameters
    ----------
    clusters
        One for each gene, all of the same cells.
    config
        The parameters.
    lessons
        All cells, on the device.
    models
        Which genes are the models of each network: on the processor each gene has a network of
        its own, elsewhere one stack holds all.
    """

    clusters: Sequence[Cluster]
    config: ModelConfig
    lessons: Lessons
    models: list[list[int]]

    @property
    def label(self) -> str:
        """What is learnt, for progress."""
        return self.clusters[0].label

    def begin(self, linear: Sequence[Linear], cells: Ints) -> Learner:
        """Return untrained networks that scale these models, one for each gene, for some cells."""
        cluster, config = self.clusters[0], self.config
        n_types = cluster.around.n_types
        anchors = [np.concatenate(([intercept], coef)) for intercept, coef in linear]
        start, order = np.random.SeedSequence((config.seed, cluster.code)).generate_state(2)
        networks = [
            new_network(
                config,
                [anchors[g] for g in genes],
                n_types,
                n_channels(n_types, config),
                torch.Generator().manual_seed(int(start)),
            ).to(self.lessons.features.device)
            for genes in self.models
        ]
        generator = torch.Generator().manual_seed(int(order))
        return Learner(networks, self.lessons, cells, config, generator)

    def predictions(
        self, networks: Sequence[AnchoredNetwork], cells: Ints
    ) -> Generator[None, None, Floats]:
        """Return the (n_genes, n_cells) expression that networks predict of some cells."""
        lessons = self.lessons
        found = np.empty((len(self.clusters), len(cells)))
        for k, genes in enumerate(self.models):
            parts = betas_by_parts(networks[k], lessons, cells)
            for part, betas in parts:
                at = torch.from_numpy(np.asarray(cells[part], np.int64)).to(betas.device)
                found[genes, part] = predicted(betas, lessons.X[k][:, at]).cpu().numpy()
                yield
        return found


def course_job(clusters: Sequence[Cluster], config: ModelConfig) -> Job[Course]:
    """Gather what networks learn from; the images are prepared here, once for all genes."""
    first = clusters[0]
    device = choose_device(config.device)
    source = yield from source_job(first.around, first.cells, first.code, config)
    genes = list(range(len(clusters)))
    models = [[g] for g in genes] if device.type == "cpu" else [genes]
    features = torch.from_numpy(first.around.features[first.cells]).to(device)
    X = [_designs([clusters[g].X for g in some]).to(device) for some in models]
    targets = [np.stack([clusters[g].y for g in some]) for some in models]
    y = [torch.from_numpy(rows.astype(np.float32)).to(device) for rows in targets]
    lessons = Lessons(source, config.spatial_dim, features, X, y)
    return Course(clusters, config, lessons, models)


def _designs(designs: Sequence[Floats]) -> Tensor:
    """Return (n_genes, n_cells, p) with the largest p, 0 where a gene has fewer columns."""
    n_columns = max(X.shape[1] for X in designs)
    stacked = np.zeros((len(designs), len(designs[0]), n_columns), np.float32)
    for g, X in enumerate(designs):
        stacked[g, :, : X.shape[1]] = X
    return torch.from_numpy(stacked)
