"""The log of a training, and when it stops by itself."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from celldyn.environment.early_stopping import EarlyStopping
from celldyn.environment.event_log import EventLog, curve, read_events
from celldyn.errors import ConfigError, FileFormatError


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_a_line_of_plain_numbers(tmp_path):
    path = tmp_path / "made" / "log.jsonl"
    with EventLog(path) as log:
        log({"Event": "Begin Training", "Seed": np.int64(3), "Name": "µ"})
        log({"Event": "Update", "Losses": {"PPO": torch.tensor(0.5), "KL": float("nan")},
             "Reward": np.array([1.0, math.inf]), "Path": path})  # fmt: skip
    begin, update = lines(path)
    assert begin.pop("Timestamp").endswith("+00:00")
    assert begin == {"Event": "Begin Training", "Seed": 3, "Name": "µ"}
    assert update["Losses"] == {"PPO": 0.5, "KL": None}
    assert update["Reward"] == [1.0, None]
    assert update["Path"] == str(path)


def test_it_is_written_every_few_updates_and_whole_at_the_end(tmp_path):
    path = tmp_path / "log.jsonl"
    log = EventLog(path, flush_iterations=2)
    counts = []
    for k in range(5):
        log({"Event": "Rollout", "Policy Iteration": k})
        log({"Event": "Update", "Policy Iteration": k})
        counts.append(len(lines(path)))
    assert counts == [0, 4, 4, 8, 8]
    log.close()
    assert len(lines(path)) == 10
    assert [e["Policy Iteration"] for e in read_events(path, "Rollout")] == [0, 1, 2, 3, 4]


def test_a_resumed_training_goes_on_with_its_log(tmp_path):
    path = tmp_path / "log.jsonl"
    with EventLog(path) as log:
        log({"Event": "Update", "Reward": 1})
    with path.open("a") as file:
        file.write('{"Event": "Upd')  # killed as it wrote
    with EventLog(path) as log:
        log({"Event": "Update", "Reward": 2})
    assert [e["Reward"] for e in read_events(path)] == [1, 2]


def test_a_log_may_be_printed(capsys):
    with EventLog("cli") as log:
        log({"Event": "Finish Training"})
        assert capsys.readouterr().out == ""
    assert json.loads(capsys.readouterr().out)["Event"] == "Finish Training"


def test_its_curve_is_a_table(tmp_path):
    path = tmp_path / "log.jsonl"
    with EventLog(path) as log:
        for k in range(3):
            log({"Event": "Update", "Losses": {"PPO": k / 2}, "Iterations": k})
    table = curve(path)
    assert list(table.columns) == ["Timestamp", "Iterations", "Losses/PPO"]
    np.testing.assert_array_equal(table["Losses/PPO"], [0, 0.5, 1])
    assert curve(path, "Rollout").empty


def test_what_is_no_log_is_told(tmp_path):
    with pytest.raises(ConfigError, match="flush_iterations is 0"):
        EventLog(tmp_path / "log", 0)
    with pytest.raises(FileFormatError, match="cannot be written"):
        EventLog(tmp_path)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_events(tmp_path / "none")
    (tmp_path / "text").write_text("no log\n[1]\n" + "[" * 100_000)
    with pytest.raises(FileFormatError, match="text is no log"):
        read_events(tmp_path / "text")


# --- early stopping ---------------------------------------------------------------------------


def stopped_at(rewards, **how):
    watch = EarlyStopping(**how)
    return next((k for k, reward in enumerate(rewards) if watch.update(reward)), None)


def test_it_stops_after_as_many_updates_without_a_better_mean_as_its_patience():
    # Means of three: 1 at the third reward, which is the best; then six that are no better.
    assert stopped_at([1.0] * 20) == 2 + 6
    assert stopped_at([0.0] * 20, average=1, patience=2) == 2
    assert stopped_at(np.arange(100) * 0.02) is None
    # A gain of .009 a step is not better by more than .01 at once, but is after two steps.
    assert stopped_at(np.arange(100) * 0.009, average=1) is None
    assert stopped_at([0.0, 0.01, 0.01, 0.01], average=1, patience=3) == 3


def test_one_lucky_reward_is_averaged_away():
    noisy = [0, 0, 0, 0.03, 0, 0, 0, 0, 0, 0]
    watch = EarlyStopping(average=3, delta=0.011, patience=6)
    assert [watch.update(r) for r in noisy].index(True) == 8
    assert watch.best == 0


def test_rewards_that_are_not_finite_are_no_better():
    assert stopped_at([math.nan] * 20) == 5
    assert stopped_at([1, math.inf, 1, 1, 1, 1], average=1, patience=3) == 3


def test_it_goes_on_from_where_it_stood():
    rewards = [0, 1, 2, 2, 2, math.nan, 2, 2, 2, 2, 2]
    for cut in range(len(rewards)):
        whole, first = EarlyStopping(patience=5), EarlyStopping(patience=5)
        for reward in rewards[:cut]:
            whole.update(reward)
            first.update(reward)
        second = EarlyStopping.from_state(json.loads(json.dumps(first.to_state())))
        for reward in rewards[cut:]:
            assert second.update(reward) == whole.update(reward)
        assert second.to_state() == whole.to_state()
    assert whole.stops
    assert "no better than 2 by more than 0.01 for" in whole.sentence()


@pytest.mark.parametrize(
    "how", [{"average": 0}, {"patience": 0}, {"delta": -1}, {"delta": math.nan}]
)
def test_bounds(how):
    with pytest.raises(ConfigError):
        EarlyStopping(**how)


@pytest.mark.parametrize(
    "change",
    [{"last": None}, {"last": [1, 2, 3, 4]}, {"last": [math.nan]}, {"best": math.nan},
     {"waited": -1}, {"average": 0}, {"patience": "x"}],
)  # fmt: skip
def test_a_damaged_state_is_told(change):
    with pytest.raises(FileFormatError, match="damaged"):
        EarlyStopping.from_state(EarlyStopping().to_state() | change)
