"""What the monitor runs by the clock."""

from collections.abc import Sequence

from finance_monitor.sources import sources_path
from headwater.settings import Settings
from headwater.storage.schedules import ScheduledJob


def schedule(settings: Settings) -> Sequence[ScheduledJob]:
    """The resident worker, started when it is not running, so that it comes back after a crash; and each night the end
    of keeping names."""
    jobs = [ScheduledJob("finance-retention", "finance", ("finance", "retention", "--days", "365"), cron="45 2 * * *")]
    if sources_path(settings).exists():  # else there is nothing to watch yet
        jobs.append(
            ScheduledJob("finance-work", "finance", ("finance", "work"), 15, deadline_seconds=None, resident=True)
        )
    return jobs
