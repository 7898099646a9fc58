"""The card of a job, really clicked."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QScrollArea, QWidget

from celldyn.jobs import Progress
from napari_celldyn.jobs import JobRunner, JobState
from napari_celldyn.widgets import theme_colours
from napari_celldyn.widgets.card_parts import MAX_ROWS, duration
from napari_celldyn.widgets.job_card import JobCard, JobList, JobsWidget
from napari_celldyn.workspace import Workspace


def steps(total=100_000, step_s=0.005, known=True):
    for done in range(1, total + 1):
        time.sleep(step_s)
        yield Progress(
            "fit betas", done, total if known else None, f"gene {done}", {"held-out R²": 0.5}
        )


def breaking():
    yield Progress("fit betas", 1, 10)
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.fixture
def runner(qapp):
    workspace = Workspace()
    runner = JobRunner.of(workspace)
    yield runner
    assert runner.shutdown()


def shown(qtbot, widget):
    qtbot.addWidget(widget)
    widget.resize(320, 240)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def click(qtbot, button):
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def card_of(qtbot, runner, source, **named):
    handle = runner.submit("Betas of Myc", source, system="betas", **named)
    return shown(qtbot, JobCard(handle))


def until(qtbot, card, state, timeout=1000):
    qtbot.waitUntil(lambda: card.handle.state is state, timeout=timeout)


def test_a_running_card_tells_how_far_and_how_long(qtbot, runner):
    card = card_of(qtbot, runner, steps(total=400))
    qtbot.waitUntil(lambda: card.bar.value() > 100, timeout=3000)
    assert card.bar.maximum() > 0
    done = card.handle.progress.done
    assert card.bar.value() == round(card.bar.maximum() * done / 400)
    assert card.title.text() == "Betas of Myc"
    assert card.state.text() == "running"
    assert card.stage.text() == f"fit betas · gene {done:.0f}"
    assert "/s · " in card.figures.text()
    assert "left" in card.figures.text()
    assert "elapsed" in card.figures.text()
    values = [label.text() for label in card.metrics.findChildren(QWidget)]
    assert values == ["held-out R²", "0.5"]
    assert not card.sentence.isVisible()
    assert not card.dismiss_button.isVisible()


def test_of_a_thousand_metrics_the_latest_are_listed(qtbot, runner):
    def panel():
        for k in range(1000):
            yield Progress("panel", k + 1, 1000, metrics={f"r2/gene{k}": k / 1000})

    card = card_of(qtbot, runner, panel)
    until(qtbot, card, JobState.DONE, timeout=5000)
    labels = [label.text() for label in card.metrics.findChildren(QWidget)]
    assert len(labels) == 2 * MAX_ROWS
    assert labels[-2:] == ["r2/gene999", "0.999"]


def test_the_bar_is_busy_while_the_total_is_unknown(qtbot, runner):
    card = card_of(qtbot, runner, steps(known=False))
    qtbot.waitUntil(lambda: card.handle.progress is not None)
    assert (card.bar.minimum(), card.bar.maximum()) == (0, 0)
    assert "left" not in card.figures.text()


def test_pause_and_resume_are_one_button(qtbot, runner):
    card = card_of(qtbot, runner, steps())
    qtbot.waitUntil(lambda: card.handle.progress is not None)
    click(qtbot, card.pause_button)
    assert card.pause_button.text() == "Resume"
    until(qtbot, card, JobState.PAUSED)
    qtbot.waitUntil(lambda: card.state.text() == "paused")
    value, done = card.bar.value(), card.handle.progress.done
    qtbot.wait(150)
    assert (card.bar.value(), card.handle.progress.done) == (value, done)
    click(qtbot, card.pause_button)
    assert card.pause_button.text() == "Pause"
    qtbot.waitUntil(lambda: card.handle.progress.done > done, timeout=500)
    assert card.state.text() == "running"


def test_cancel_is_idle_within_half_a_second(qtbot, runner):
    card = card_of(qtbot, runner, steps())
    qtbot.waitUntil(lambda: card.handle.progress is not None)
    start = time.perf_counter()
    click(qtbot, card.cancel_button)
    assert card.state.text() == "cancelling…"
    assert not card.cancel_button.isEnabled()
    until(qtbot, card, JobState.CANCELLED, timeout=500)
    assert time.perf_counter() - start < 0.5
    assert not runner.busy
    assert card.state.text() == "cancelled"
    assert not card.bar.isVisible()
    assert not card.cancel_button.isVisible()
    assert card.dismiss_button.isVisible()


def test_a_job_that_keeps_silent_is_shown_as_cancelling(qtbot, runner):
    def silent():
        yield Progress("a long matrix product")
        time.sleep(2)
        yield Progress("never seen")

    card = card_of(qtbot, runner, silent)
    qtbot.waitUntil(lambda: card.handle.progress is not None)
    click(qtbot, card.cancel_button)
    assert card.state.text() == "cancelling…"
    until(qtbot, card, JobState.CANCELLED, timeout=3000)


def test_a_runtime_error_is_a_red_card_within_a_second(qtbot, runner):
    start = time.perf_counter()
    card = card_of(qtbot, runner, breaking, writes={"obsm/betas_Myc"})
    until(qtbot, card, JobState.FAILED)
    assert time.perf_counter() - start < 1
    assert card.sentence.isVisible()
    assert card.sentence.text().startswith("RuntimeError: mat1 and mat2 shapes")
    assert "Traceback" not in card.sentence.text()
    red = theme_colours.error().name()
    image = card.grab().toImage()
    assert image.pixelColor(1, image.height() // 2).name() == red
    assert not card.details.isVisible()
    click(qtbot, card.details_button)
    assert card.details.isVisible()
    assert "Traceback (most recent call last)" in card.details.toPlainText()
    assert "in breaking" in card.details.toPlainText()
    click(qtbot, card.copy_button)
    copied = QApplication.clipboard().text()
    assert copied.startswith(card.sentence.text())
    assert "in breaking" in copied
    click(qtbot, card.details_button)
    assert not card.details.isVisible()
    again = runner.submit("Again", steps(total=1), system="betas", writes={"obsm/betas_Myc"})
    qtbot.waitUntil(lambda: again.state is JobState.DONE, timeout=1000)


def test_a_card_without_failure_is_not_red(qtbot, runner):
    card = card_of(qtbot, runner, steps(total=1))
    until(qtbot, card, JobState.DONE)
    assert theme_colours.error().name() not in card.styleSheet()
    assert not card.details_button.isVisible()


def test_the_list_stacks_cards_newest_first_and_dismisses(qtbot, runner):
    early = runner.submit("early", steps(total=1), system="test")
    cards = shown(qtbot, JobList(runner))
    assert isinstance(cards, QScrollArea)
    late = runner.submit("late", steps(), system="test")
    assert [card.handle for card in cards.cards] == [late, early]
    qtbot.waitUntil(lambda: early.state is JobState.DONE)
    click(qtbot, cards.cards[1].dismiss_button)
    assert [card.handle for card in cards.cards] == [late]
    assert runner.handles == (late,)
    runner.dismiss(late)
    assert runner.handles == (late,), "a job that runs stays"


def test_the_list_is_narrow_whatever_it_shows(qtbot, runner):
    cards = shown(qtbot, JobList(runner))
    runner.submit("A very long title of a job " * 5, steps(), system="test")

    def fails():
        yield Progress("a stage with a name that does not end " * 5, message="x" * 300)
        raise ValueError("word" * 100)

    failed = runner.submit("fails", fails, system="test")
    qtbot.waitUntil(lambda: failed.state is JobState.FAILED)
    assert cards.minimumSizeHint().width() <= 320
    assert cards.widget().minimumSizeHint().width() <= 320
    cards.resize(320, 500)
    qtbot.wait(30)
    assert all(card.width() <= 320 for card in cards.cards)


def test_a_list_that_is_gone_is_not_told(qtbot, runner):
    handle = runner.submit("goes on", steps(), system="test")
    cards = JobList(runner)
    cards.deleteLater()
    with qtbot.waitSignal(cards.destroyed):
        pass
    runner.submit("another", steps(total=1), system="test")
    done = handle.progress.done if handle.progress else 0
    qtbot.waitUntil(lambda: handle.progress is not None and handle.progress.done > done + 5)


def test_duration_in_words():
    assert [duration(s) for s in (0, 7.4, 723, 3723, 59.6)] == [
        "0:00", "0:07", "12:03", "1:02:03", "1:00",
    ]  # fmt: skip


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_sentence_can_be_read_in_every_theme(qtbot, theme):
    from napari.settings import get_settings
    from napari.utils.theme import get_theme
    from qtpy.QtGui import QColor

    appearance = get_settings().appearance
    before, appearance.theme = appearance.theme, theme
    try:
        ground = QColor(get_theme(theme).background.as_hex())
        assert theme_colours.contrast(theme_colours.error_text(), ground) >= 4.5
    finally:
        appearance.theme = before


def test_contrast_is_that_of_the_guideline():
    from qtpy.QtGui import QColor

    assert theme_colours.contrast(QColor("black"), QColor("white")) == pytest.approx(21)
    assert theme_colours.contrast(QColor("#777777"), QColor("white")) == pytest.approx(
        4.48, abs=0.01
    )


def test_widgets_and_jobs_know_qt_through_qtpy_alone():
    import napari_celldyn

    for path in Path(napari_celldyn.__file__).parent.rglob("*.py"):
        assert not re.search(r"(from|import) (PyQt|PySide)", path.read_text()), path


@pytest.fixture
def afterwards():
    """Checks for when the viewer is gone."""
    checks = []
    yield checks
    assert all(check() for check in checks)


def test_closing_the_viewer_ends_its_jobs(afterwards, qtbot, make_napari_viewer):
    viewer = make_napari_viewer(strict_qt="raise")
    _, docked = viewer.window.add_plugin_dock_widget("napari-celldyn", "Jobs")
    assert isinstance(docked, JobsWidget)
    handle = JobRunner.of(Workspace.of(viewer)).submit("goes on", steps(), system="test")
    qtbot.waitUntil(lambda: handle.progress is not None)
    assert docked.cards[0].handle is handle
    afterwards.append(lambda: handle.state is JobState.CANCELLED)
