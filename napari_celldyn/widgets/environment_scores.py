"""How well positions tell held-out cells, beside simple methods: a job and its table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

from celldyn.errors import CelldynError, DataError
from celldyn.jobs import Job, scaled
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.environment_modalities import Modality, tables
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_root import offer
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_model import EnvironmentShelf
    from napari_celldyn.widgets.environment_training import Learned

Report = dict[int, pd.DataFrame]

TIME_S = 128.0
"""Cells are brought to rest for at most so long."""

OURS = "environment"


class EnvironmentScores(QWidget):
    """Brings all cells to rest, and tells how well held-out ones are told.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The environment of the tissue in view.
    """

    def __init__(
        self, session: Session, shelf: EnvironmentShelf, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._workspace, self._runner, self._shelf = session.workspace, session.runner, shelf
        self.report: Report = {}
        self.button, self.sentence = QPushButton("Score held-out cells"), ErrorSentence()
        self.button.setToolTip(
            "All cells are brought to rest; what held-out ones tell is compared with the truth, "
            "and beside it stand simple methods trained on the same cells"
        )
        self.jobs, self.target = CardPlace(self._runner), QComboBox()
        self.words, self.table = wrapped(), FrameTable()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.button, self.sentence, self.jobs, self.target, self.words, self.table):
            column.addWidget(part)
        self.button.clicked.connect(self.run)
        self.target.currentTextChanged.connect(self._show_target)
        listen(self, self._workspace.data_changed, self.clear)
        self.clear()

    def clear(self) -> None:
        """Forget what was found."""
        self.jobs.clear()
        self.sentence.say("")
        self._take({}, ())

    def run(self) -> JobHandle | None:
        """Start to score; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        try:
            learned, adata = self._shelf.require(), self._workspace.require()
            parts = tables(adata, [Modality(source, "", "") for source in learned.sources])
        except CelldynError as error:
            self.sentence.say(str(error))
            return None

        def take(report: Report) -> None:
            self.jobs.clear()
            if self._shelf.learned is learned:
                self._take(report, learned.sources)

        handle = self._runner.submit(
            "Scores of held-out cells",
            lambda: score_job(learned, parts),
            system="environment",
            on_result=take,
        )
        self.jobs.show_job(handle)
        return handle

    def _take(self, report: Report, sources: tuple[str, ...]) -> None:
        self.report = {k: report[k] for k in report}
        self._names = {sources[k]: k for k in report}
        offer(self.target, list(self._names))
        self.target.setVisible(len(report) > 1)
        self._show_target(self.target.currentText())

    def _show_target(self, name: str) -> None:
        table = self.report.get(self._names.get(name, -1), pd.DataFrame())
        shown = table.rename_axis("method").reset_index() if len(table) else pd.DataFrame()
        self.table.show_frame(shown)
        self.table.setVisible(bool(len(shown)))
        said = f"How well {name} of held-out cells is told." if len(shown) else ""
        self.words.setText(said)
        self.words.setVisible(bool(said))


def score_job(learned: Learned, parts: list[AnnData]) -> Job[Report]:
    """Bring all cells to rest, those that may meet together, and score held-out ones.

    Raises
    ------
    DataError
        If no cell was held out of the training.
    """
    from celldyn.environment.gathering import gather_job
    from celldyn.environment.score_tables import imputation_report_job

    fitted = learned.fitted
    config = fitted.config.data.replace(train_mask=None, train_split=1.0)
    data = yield from gather_job(
        parts, config, seed=fitted.config.seed, preprocessing=fitted.preprocessing
    )
    trained = _trained(learned, data.obs_names)
    if trained.all():
        raise DataError(
            "no cell was held out of the training, so nothing can be scored honestly",
            "hold out a share of the cells or a section, and train again",
        )
    data = replace(data, train=trained)
    told = yield from _told_job(learned, data)
    found: Report = yield from imputation_report_job(data, told, name=OURS)
    return found


def _trained(learned: Learned, names: tuple[str, ...]) -> np.ndarray:
    fitted = learned.fitted
    if fitted.train_mask is None or not fitted.obs_names:
        raise DataError(
            "the environment does not say on which cells it was trained",
            "train it here with some cells held out",
        )
    used = {n for n, yes in zip(fitted.obs_names, fitted.train_mask, strict=True) if yes}
    return np.array([name in used for name in names])


def _told_job(learned: Learned, data) -> Job[list[np.ndarray]]:  # noqa: ANN001
    """Return what positions at rest tell of each target, (n, F_k) in prepared units."""
    import torch

    from celldyn.environment.simulating import Simulator
    from celldyn.environment.steady import SteadyTest

    fitted = learned.fitted
    groups = np.unique(data.partition)
    told = [np.zeros(data.modalities[k].shape, np.float32) for k in fitted.targets]
    for at, group in enumerate(groups):
        rows = np.flatnonzero(data.partition == group)
        modalities = [
            part[rows] if k in fitted.inputs else None for k, part in enumerate(data.modalities)
        ]
        simulator = Simulator(fitted, modalities)
        work = simulator.run_job(
            simulator.start(fitted.config.seed), time=TIME_S, skip_time=TIME_S,
            test=SteadyTest(), store=None, stage="bringing cells to rest",
        )  # fmt: skip
        run = yield from scaled(work, at, len(groups))
        with torch.no_grad():
            for values, network in zip(told, fitted.pinning, strict=True):
                values[rows] = network(run.state.position[0]).numpy()
    return told
