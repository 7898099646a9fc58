"""The menu of the simulator's figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMenu, QPushButton, QWidget

from celldyn.errors import CelldynError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from celldyn.simulate import Simulation, SimulationConfig


class PlotsButton(QPushButton):
    """Opens the simulator's figures, each in a window of its own.

    Parameters
    ----------
    config
        Gives the config as the dock stands; may raise CelldynError.
    simulation
        Gives the latest simulated tissue; None before there is one.
    say
        Takes the sentence that says why a figure could not be drawn; "" when it could.
    """

    def __init__(
        self,
        config: Callable[[], SimulationConfig],
        simulation: Callable[[], Simulation | None],
        say: Callable[[str], object],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Plots", parent)
        self._config, self._simulation, self._say = config, simulation, say
        menu = QMenu(self)
        for title in _FIGURES:
            menu.addAction(title, lambda chosen=title: self.open(chosen))
        self._of_tissue = menu.addAction(_TISSUE, lambda: self.open(_TISSUE))
        menu.aboutToShow.connect(self._refresh)
        self.setMenu(menu)

    def open(self, title: str) -> None:
        """Open the figure of this title."""
        from napari_celldyn.widgets.figure_window import FigureWindow

        self._say("")
        try:
            figure = self._draw(title)
        except CelldynError as error:
            self._say(str(error))
            return
        FigureWindow(figure, title, self).show()

    def _draw(self, title: str) -> Figure:
        simulation = self._simulation()
        if title != _TISSUE:
            return _FIGURES[title](self._config())
        if simulation is None:
            raise CelldynError("there is no simulated tissue yet", "press Run first")
        from celldyn.plots.simulate import tissue

        return tissue(simulation)

    def _refresh(self) -> None:
        self._of_tissue.setEnabled(self._simulation() is not None)


_TISSUE = "Cells and molecules"


def _priors(config: SimulationConfig) -> Figure:
    from celldyn.plots.simulate import priors

    return priors(config)


def _genes(config: SimulationConfig) -> Figure:
    from celldyn.plots.simulate import gene_parameters
    from celldyn.simulate import generate_gene_parameters

    return gene_parameters(generate_gene_parameters(config))


def _signal(config: SimulationConfig) -> Figure:
    from celldyn.plots.simulate import marker_mu_sweep

    middle = config.marker_mu
    return marker_mu_sweep([round(middle * factor, 4) for factor in (0.4, 0.7, 1.0, 2.0)])


def _dispersion(config: SimulationConfig) -> Figure:
    from celldyn.plots.simulate import theta_sweep

    mean, cv = config.theta_mean_cv
    return theta_sweep(mu_cv=[(mean * factor, cv) for factor in (0.25, 0.5, 1.0, 2.5)])


def _model(_config: SimulationConfig) -> Figure:
    from celldyn.plots.simulate import plate_diagram

    return plate_diagram()


_FIGURES: dict[str, Callable[[SimulationConfig], Figure]] = {
    "Priors": _priors,
    "Gene parameters": _genes,
    "Strength of the markers": _signal,
    "Dispersion": _dispersion,
    "Model": _model,
}
