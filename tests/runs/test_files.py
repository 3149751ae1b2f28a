"""JSON that every reader takes."""

import json

import numpy as np

from marl.runs.files import strict_json, write_json
from marl.runs.log import Log, read_log

NAN, INF = float("nan"), float("inf")


def refuse(name):
    raise ValueError(f"{name} is no JSON")


def test_what_is_not_finite_is_null(tmp_path):
    value = {"a": NAN, "b": [1.5, -INF, {"c": np.float64(INF)}], "d": (None, "nan", 2, True)}
    expected = {"a": None, "b": [1.5, None, {"c": None}], "d": [None, "nan", 2, True]}
    assert json.loads(strict_json(value), parse_constant=refuse) == expected
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text, parse_constant=refuse) == expected


def test_logs_leave_out_what_is_not_finite(tmp_path):
    played = {"c_by_step": [1.0, NAN], "d_by_step": [1.0]}
    line = {"reward": NAN, "losses": {"a": INF, "b": 1.0}, "evaluation": played}
    log = Log(tmp_path, 0)
    log.write({"step": 5, **line})
    log.close()
    (row,) = (tmp_path / "log.jsonl").read_text().splitlines()
    kept = {"step": 5, "losses": {"b": 1.0}, "evaluation": {"d_by_step": [1.0]}}
    assert json.loads(row, parse_constant=refuse) == kept
    (tmp_path / "log.jsonl").write_text('{"step": 4, "reward": NaN}\n' + row + "\n")
    Log(tmp_path, 5).close()
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()
    assert read_log(tmp_path) == [{"step": 4}, kept]
