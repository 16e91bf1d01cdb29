"""Local times over clock changes, quiet hours, market sessions, periods of digests."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finance_monitor import calendars
from finance_monitor.calendars import Quiet, moment_of, period_before, quiet_until, release, session_from, zone_of
from headwater.errors import HeadwaterError

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
SHANGHAI = ZoneInfo("Asia/Shanghai")
NIGHT = Quiet(time(22), time(7))
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_skipped_local_time_is_read_with_the_offset_before_the_gap() -> None:
    assert moment_of(date(2026, 3, 29), time(2, 30), BERLIN) == at("2026-03-29 01:30")
    assert moment_of(date(2026, 3, 29), time(2, 30), BERLIN, second=True) == at("2026-03-29 01:30")


def test_local_time_that_comes_twice_has_a_first_and_a_second() -> None:
    assert moment_of(date(2026, 10, 25), time(2, 30), BERLIN) == at("2026-10-25 00:30")
    assert moment_of(date(2026, 10, 25), time(2, 30), BERLIN, second=True) == at("2026-10-25 01:30")


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-03-28 20:59", "2026-03-28 20:59"),
        ("2026-03-28 21:00", "2026-03-29 05:00"),  # the night that lacks an hour
        ("2026-03-29 04:59", "2026-03-29 05:00"),
        ("2026-03-29 05:00", "2026-03-29 05:00"),
        ("2026-10-24 20:00", "2026-10-25 06:00"),  # the night that has one more
        ("2026-10-25 05:59", "2026-10-25 06:00"),
    ],
)
def test_quiet_night_ends_at_seven_on_the_local_clock(moment: str, until: str) -> None:
    assert quiet_until([NIGHT], BERLIN, at(moment)) == at(until)


def test_quiet_hours_that_end_in_the_doubled_hour_last_until_its_second_time() -> None:
    quiet = Quiet(time(0), time(2, 30))
    assert quiet_until([quiet], BERLIN, at("2026-10-25 00:40")) == at("2026-10-25 01:30")
    assert quiet_until([quiet], BERLIN, at("2026-10-25 01:30")) == at("2026-10-25 01:30")


def test_quiet_days_are_those_on_which_the_hours_start() -> None:
    friday_night = Quiet(time(22), time(7), ("fri",))
    assert quiet_until([friday_night], BERLIN, at("2026-03-07 03:00")) == at("2026-03-07 06:00")
    assert quiet_until([friday_night], BERLIN, at("2026-03-08 03:00")) == at("2026-03-08 03:00")


def test_adjacent_quiet_hours_are_one() -> None:
    morning = Quiet(time(7), time(9))
    assert quiet_until([morning, NIGHT], BERLIN, at("2026-03-02 23:00")) == at("2026-03-03 08:00")


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    st.times(),
    st.times(),
    st.sampled_from([BERLIN, NEW_YORK, SHANGHAI]),
)
def test_end_of_quiet_hours_is_never_quiet(moment: datetime, start: time, end: time, zone: ZoneInfo) -> None:
    quiet = [Quiet(start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0))]
    if quiet[0].start == quiet[0].end:
        return
    until = quiet_until(quiet, zone, moment.replace(tzinfo=UTC))
    assert until >= moment.replace(tzinfo=UTC) and quiet_until(quiet, zone, until) == until
    assert until - moment.replace(tzinfo=UTC) <= timedelta(hours=25)


@pytest.mark.parametrize(
    ("market", "moment", "opens"),
    [
        ("XNYS", "2026-03-06 20:59", "2026-03-06 20:59"),
        ("XNYS", "2026-03-06 21:00", "2026-03-09 13:30"),  # the clocks went forward on Sunday
        ("XNYS", "2026-07-02 20:30", "2026-07-06 13:30"),  # Independence Day is kept on the Friday
        ("XNYS", "2026-11-27 18:30", "2026-11-30 14:30"),  # closes at one on the day after Thanksgiving
        ("XLON", "2026-04-02 16:00", "2026-04-07 07:00"),  # Easter
        ("XHKG", "2026-03-02 04:30", "2026-03-02 05:00"),  # lunch
        ("XSHG", "2026-02-13 07:30", "2026-02-24 01:30"),  # Spring Festival
        ("XNYS", "2026-12-31 22:00", "2027-01-04 14:30"),
    ],
)
def test_market_opens_after_nights_weekends_holidays_and_lunch(market: str, moment: str, opens: str) -> None:
    assert session_from(market, at(moment)) == at(opens)


def test_year_that_is_not_published_yet_falls_back_to_weekly_hours() -> None:
    assert session_from("XSHG", at("2040-06-02 03:00")) == at("2040-06-04 01:30")
    assert set(calendars.MARKETS) == {"XNYS", "XLON", "XHKG", "XSHG"}


def test_message_waits_for_the_end_of_quiet_hours_and_for_the_market() -> None:
    assert release([], BERLIN, "", at("2026-03-02 23:00")) == (at("2026-03-02 23:00"), "")
    assert release([NIGHT], BERLIN, "", at("2026-03-02 23:00")) == (at("2026-03-03 06:00"), "quiet")
    assert release([NIGHT], BERLIN, "XLON", at("2026-03-02 20:00")) == (at("2026-03-03 08:00"), "session")


def test_quiet_hours_that_cover_every_session_do_not_hang() -> None:
    always = Quiet(time(14), time(23))
    moment, _ = release([always], BERLIN, "XNYS", at("2026-03-02 16:00"))
    assert moment > at("2026-03-02 16:00")


@pytest.mark.parametrize(
    ("mode", "moment", "start", "end"),
    [
        ("daily", "2026-03-29 06:00", "2026-03-28 07:00", "2026-03-29 06:00"),  # 23 hours
        ("daily", "2026-03-29 05:59", "2026-03-27 07:00", "2026-03-28 07:00"),
        ("daily", "2026-10-25 07:00", "2026-10-24 06:00", "2026-10-25 07:00"),  # 25 hours
        ("weekly", "2026-03-30 06:00", "2026-03-23 07:00", "2026-03-30 06:00"),
        ("weekly", "2026-03-30 05:59", "2026-03-16 07:00", "2026-03-23 07:00"),
        ("weekly", "2026-04-04 12:00", "2026-03-23 07:00", "2026-03-30 06:00"),
    ],
)
def test_periods_end_at_the_local_hour(mode: str, moment: str, start: str, end: str) -> None:
    assert period_before(mode, "mon", 8, BERLIN, at(moment)) == (at(start), at(end))


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.integers(0, 23), st.sampled_from(["daily", "weekly"])
)
def test_periods_follow_each_other_without_gap_or_overlap(moment: datetime, hour: int, mode: str) -> None:
    start, end = period_before(mode, "wed", hour, NEW_YORK, moment.replace(tzinfo=UTC))
    assert start < end <= moment.replace(tzinfo=UTC)
    assert period_before(mode, "wed", hour, NEW_YORK, end - MINUTE)[1] == start
    assert period_before(mode, "wed", hour, NEW_YORK, end) == (start, end)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", ""])
def test_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(HeadwaterError, match="is no time zone"):
        zone_of(name)


def test_windows_of_a_market_follow_each_other_and_a_lunch_break_is_within_the_day() -> None:
    found = calendars.session_windows("XHKG", at("2026-07-03 00:00"), at("2026-07-06 12:00"))
    assert found == [
        (at("2026-07-02 08:00"), at("2026-07-03 01:30"), False),
        (at("2026-07-03 01:30"), at("2026-07-03 08:00"), True),
        (at("2026-07-03 08:00"), at("2026-07-06 01:30"), False),
        (at("2026-07-06 01:30"), at("2026-07-06 08:00"), True),
        (at("2026-07-06 08:00"), at("2026-07-07 01:30"), False),
    ]


def test_windows_of_a_market_know_short_days_and_clock_changes() -> None:
    found = calendars.session_windows("XNYS", at("2026-11-26 21:00"), at("2026-11-27 20:00"))
    # Thanksgiving is closed, the day after closes at one.
    assert found[0][:2] == (at("2026-11-25 21:00"), at("2026-11-27 14:30"))
    assert found[1] == (at("2026-11-27 14:30"), at("2026-11-27 18:00"), True)
    summer = calendars.session_windows("XNYS", at("2026-07-06 14:00"), at("2026-07-06 15:00"))
    assert summer == [(at("2026-07-06 13:30"), at("2026-07-06 20:00"), True)]


def test_hours_that_are_not_known_are_named_with_the_way_out() -> None:
    assert calendars.market_of("NASDAQ") == "XNYS" and calendars.market_of("XLON") == "XLON"
    with pytest.raises(HeadwaterError, match=r"'XYZ' are not known; name one of XNYS, XLON"):
        calendars.market_of("XYZ")
