"""Documents follow their encoder: embedded anew once another version of it is in production."""

import sqlalchemy as sa

from headwater.progress import Progress
from headwater.retrieval.tables import generations
from headwater.settings import Settings
from headwater.web import Context, open_context
from support_bot.site import DATABASE, ENCODERS, open_encoders, open_index


def reembed_sites(context: Context, progress: Progress) -> dict[str, int]:
    """Embed what has vectors of another encoder than the one in production; {site: passages}, without untouched ones.

    Running servers answer with the former encoder until all of a site's passages of its languages are done, and take
    the new one up with their next question.
    """
    engine = context.engine(DATABASE)
    with engine.connect() as connection:
        sites = list(connection.execute(sa.select(generations.c.site_id).order_by(generations.c.site_id)).scalars())
    encoders = open_encoders(context.registry, context.settings.threads)
    counts = {site: open_index(engine, site, encoders).reembed(progress) for site in sites}
    return {site: count for site, count in counts.items() if count}


def follow(settings: Settings, name: str, progress: Progress) -> None:
    """What `headwater registry promote` and `rollback` call when the production version of `name` has changed."""
    if name not in ENCODERS.values():
        return
    context = open_context(settings)
    try:
        if all(context.registry.production(other) for other in ENCODERS.values()):
            reembed_sites(context, progress)
    finally:
        context.close()
