"""Scheduled work of the support bot."""

from headwater.settings import Settings
from headwater.storage.schedules import ScheduledJob


def schedule(settings: Settings) -> list[ScheduledJob]:
    """Each night: conversations older than a year are deleted, of all sites, and cut-off re-embedding is finished."""
    return [
        ScheduledJob("support retention", "support", ("support", "retention", "--days", "365"), cron="30 2 * * *"),
        # A large index takes hours after a promotion; what is cut off goes on the next night.
        ScheduledJob(
            "support reembed", "support", ("support", "reembed"), cron="0 3 * * *", deadline_seconds=6 * 3600.0
        ),
    ]
