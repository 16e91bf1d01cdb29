"""Scheduled work of the support bot."""

from headwater.settings import Settings
from headwater.storage.schedules import ScheduledJob


def schedule(settings: Settings) -> list[ScheduledJob]:
    """Conversations older than a year are deleted each night."""
    return [ScheduledJob("support retention", "support", ("support", "retention", "--days", "365"), cron="30 2 * * *")]
