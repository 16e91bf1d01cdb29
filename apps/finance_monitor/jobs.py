"""What the monitor runs by the clock."""

from collections.abc import Sequence

from finance_monitor.sources import sources_path
from headwater.settings import Settings
from headwater.storage.schedules import ScheduledJob


def schedule(settings: Settings) -> Sequence[ScheduledJob]:
    """The resident worker: started when it is not running, so that it comes back after a crash."""
    if not sources_path(settings).exists():
        return []  # nothing to watch yet
    return [ScheduledJob("finance-work", "finance", ("finance", "work"), every_seconds=15)]
