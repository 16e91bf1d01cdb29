"""A slice of `make soak NAME=clock`: the property, and that its check sees what would break it."""

import importlib.util
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from headwater.storage.schedules import LedgerRow

DAYS = 12


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    path = Path(__file__).parents[2] / "soak" / "clock.py"
    spec = importlib.util.spec_from_file_location("soak_clock", path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["soak_clock"] = module
    spec.loader.exec_module(module)
    return module


def test_each_window_is_run_joined_or_reported_and_none_twice(soak: ModuleType) -> None:
    logging.disable(logging.CRITICAL)
    try:
        found = soak.run(DAYS, 7, "Australia/Lord_Howe")
    finally:
        logging.disable(logging.NOTSET)
    print(f"clock property: {DAYS} of {soak.FULL} days, {found['windows']} windows, {found['troubles']}")
    assert found["windows"] == found["windows wanted"] > DAYS
    assert found["troubles"]["kill"] and found["troubles"]["turns without a database"]
    assert 0 < found["longest take-over, simulated s"] < soak.TAKE_OVER_SECONDS


def test_the_check_sees_a_window_that_is_left_out_and_one_that_is_booked_twice(soak: ModuleType) -> None:
    job = soak.SCHEDULES[0]
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    def row(first: int, last: int, windows: int, outcome: str = "run") -> LedgerRow:
        at = begin + timedelta(hours=2, minutes=30)
        times = (at + timedelta(days=first), at + timedelta(days=last))
        return LedgerRow(job.name, *times, windows, outcome, "", begin, "", None, None)

    start = replace(row(0, 0, 0, "begin"), first_due=begin, due=begin)
    soak.check_rows(job, [start, row(0, 0, 1), row(1, 3, 3), row(4, 4, 1)])
    for wrong in ([row(0, 0, 1), row(2, 2, 1)], [row(0, 1, 2), row(1, 1, 1)], [row(0, 2, 2)], [row(1, 1, 1)]):
        with pytest.raises(AssertionError):
            soak.check_rows(job, [start, *wrong])
