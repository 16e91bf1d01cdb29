"""The finance monitor's tables as queries use them; the versions under `migrations/` make them.

`captures` and `journal` are the raw record, append-only. Everything from `articles` to `alerts` is a function of the
journal, the models and the gazetteer, and is made again from them by a replay.
"""

import sqlalchemy as sa

from headwater.storage.columns import Moment

metadata = sa.MetaData()

# --- crawling ---------------------------------------------------------------------------------------------------------

crawls = sa.Table(
    "crawls",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("source_id", sa.String(64), nullable=False),
    sa.Column("started", Moment, nullable=False),
    sa.Column("ended", Moment),
    # running, done, partial, failed, blocked, unchanged
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    # requests, pages, new, not_modified, errors, bytes, robots, seconds by stage
    sa.Column("figures", sa.JSON, nullable=False),
    sa.Column("retry_at", Moment),
    sa.Index("crawls_by_source", "source_id", "started"),
    sa.Index("crawls_by_time", "started"),
)

validators = sa.Table(
    "validators",
    metadata,
    sa.Column("url", sa.String(2000), primary_key=True),
    sa.Column("etag", sa.Text, nullable=False),
    sa.Column("last_modified", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("fetched_at", Moment, nullable=False),
)

# One row for each state of an entry or page that was seen: the feed's item and the page's bytes (in the blobs).
captures = sa.Table(
    "captures",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source_id", sa.String(64), nullable=False),
    sa.Column("crawl_id", sa.String(32), nullable=False),
    # SHA-256 over what was seen; the same state of the same address is kept once.
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    # SHA-256 over the entry alone: an entry that is seen again as it was needs no page.
    sa.Column("entry_digest", sa.String(64), nullable=False),
    sa.Column("url", sa.String(2000), nullable=False),
    sa.Column("guid", sa.String(2000), nullable=False),
    # domain.FeedEntry as it was read
    sa.Column("entry", sa.JSON, nullable=False),
    # domain.Source as it was configured then: kind, language, weight
    sa.Column("source", sa.JSON, nullable=False),
    sa.Column("feed_blob", sa.String(64), nullable=False),
    sa.Column("page_blob", sa.String(64), nullable=False),
    sa.Column("content_type", sa.String(200), nullable=False),
    sa.Column("fetched_at", Moment, nullable=False),
    # domain.Page, read once while crawling; a replay reads it again from the bytes
    sa.Column("page", sa.JSON),
    sa.Index("captures_by_address", "source_id", "url"),
    sa.Index("captures_by_entry", "source_id", "entry_digest"),
    sa.Index("captures_by_time", "source_id", "fetched_at"),
)

# The order in which things became known: a capture that was taken up, or a tick of the clock (capture_id null).
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("moment", Moment, nullable=False),
    sa.Column("capture_id", sa.Integer, unique=True),
    sa.Index("journal_by_moment", "moment"),
)

# --- what is derived from the journal ---------------------------------------------------------------------------------

# One row: the last sequence of the journal whose effects are in the tables below.
progress = sa.Table(
    "progress",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("moment", Moment),
    # the rhythm that was fitted last, [day, hours]: one that a restart fitted anew would know of later news
    sa.Column("rhythm", sa.JSON),
)

# Entries that no attempt could judge, with why; the capture is there, and a later version may judge it in a replay.
unjudged = sa.Table(
    "unjudged",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("capture_id", sa.Integer),
    sa.Column("moment", Moment, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("unjudged_by_capture", "capture_id"),
)

# When an entry's scores were there by the worker's clock, for the health of sources alone: nothing is derived from it.
judged = sa.Table(
    "judged",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("moment", Moment, nullable=False),
)

articles = sa.Table(
    "articles",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("source_id", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("url", sa.String(2000), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("published", Moment, nullable=False),
    sa.Column("first_seen", Moment, nullable=False),
    sa.Column("known_at", Moment, nullable=False),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("story_id", sa.String(32), nullable=False),
    sa.Column("novelty", sa.Float, nullable=False),
    sa.Column("relation", sa.String(16), nullable=False),
    # overall sentiment
    sa.Column("label", sa.String(16), nullable=False),
    sa.Column("positive", sa.Float, nullable=False),
    sa.Column("neutral", sa.Float, nullable=False),
    sa.Column("negative", sa.Float, nullable=False),
    sa.Index("articles_by_time", "published"),
    sa.Index("articles_by_story", "story_id", "published"),
    sa.Index("articles_by_source", "source_id", "published"),
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("article_id", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("capture_id", sa.Integer, nullable=False),
    sa.Column("known_at", Moment, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("author", sa.String(300), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("date_raw", sa.String(200), nullable=False),
    sa.Column("date_method", sa.String(64), nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Index("revisions_by_capture", "capture_id"),
)

# Layered identity: guid, url, content; the key's value is hashed. Equal keys of one source are one article.
article_keys = sa.Table(
    "article_keys",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("layer", sa.String(16), nullable=False),
    sa.Column("article_id", sa.String(32), nullable=False),
    sa.Index("article_keys_by_article", "article_id"),
)

stories = sa.Table(
    "stories",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("first_article", sa.String(32), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("opened", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Index("stories_by_time", "opened"),
)

# What the story index needs to start again: MinHash values and unit vector as bytes.
fingerprints = sa.Table(
    "fingerprints",
    metadata,
    sa.Column("article_id", sa.String(32), primary_key=True),
    sa.Column("published", Moment, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index("fingerprints_by_time", "published"),
)

mentions = sa.Table(
    "mentions",
    metadata,
    sa.Column("article_id", sa.String(32), primary_key=True),
    sa.Column("company_id", sa.String(64), primary_key=True),
    sa.Column("published", Moment, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("relevance", sa.Integer, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("label", sa.String(16), nullable=False),
    sa.Column("positive", sa.Float, nullable=False),
    sa.Column("neutral", sa.Float, nullable=False),
    sa.Column("negative", sa.Float, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Index("mentions_by_company", "company_id", "published"),
)

article_topics = sa.Table(
    "article_topics",
    metadata,
    sa.Column("article_id", sa.String(32), primary_key=True),
    sa.Column("topic", sa.String(32), primary_key=True),
    sa.Column("published", Moment, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Index("article_topics_by_topic", "topic", "published"),
)

# Counts a window of 15 minutes or a day (`width`) for an entity (company, topic, or "all"); stories once, at their
# first article; `weight` and `negative_weight` by relevance, novelty and source.
windows = sa.Table(
    "windows",
    metadata,
    sa.Column("entity_kind", sa.String(16), primary_key=True),
    sa.Column("entity", sa.String(64), primary_key=True),
    sa.Column("width", sa.Integer, primary_key=True),
    sa.Column("start", Moment, primary_key=True),
    sa.Column("source_kind", sa.String(16), primary_key=True),
    sa.Column("articles", sa.Integer, nullable=False),
    sa.Column("stories", sa.Integer, nullable=False),
    sa.Column("negative", sa.Integer, nullable=False),
    sa.Column("positive", sa.Integer, nullable=False),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("negative_weight", sa.Float, nullable=False),
    sa.Column("positive_weight", sa.Float, nullable=False),
    sa.Index("windows_by_time", "width", "start"),
    # Lists of companies over a year are read from this index alone.
    sa.Index("windows_by_kind", "entity_kind", "width", "start", "entity", "stories"),
)

# What each story counts for in an entity: so that a story counts once, and a revision can change how.
contributions = sa.Table(
    "contributions",
    metadata,
    sa.Column("story_id", sa.String(32), primary_key=True),
    sa.Column("entity_kind", sa.String(16), primary_key=True),
    sa.Column("entity", sa.String(64), primary_key=True),
    sa.Column("article_id", sa.String(32), nullable=False),
    sa.Column("moment", Moment, nullable=False),
    sa.Column("source_kind", sa.String(16), nullable=False),
    sa.Column("label", sa.String(16), nullable=False),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Index("contributions_by_entity", "entity_kind", "entity", "moment"),
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("entity_kind", sa.String(16), nullable=False),
    sa.Column("entity", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("opened", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
    sa.Column("closed", Moment),
    sa.Column("reason", sa.JSON, nullable=False),
    sa.Column("story_ids", sa.JSON, nullable=False),
    # the detector's memory between evaluations (hysteresis, cool-down)
    sa.Column("memory", sa.JSON, nullable=False),
    sa.Index("incidents_by_state", "state", "updated"),
    sa.Index("incidents_by_entity", "entity_kind", "entity", "opened"),
)

incident_changes = sa.Table(
    "incident_changes",
    metadata,
    sa.Column("incident_id", sa.String(32), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("change", sa.String(16), nullable=False),  # opened, grew, closed
    sa.Column("moment", Moment, nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("reason", sa.JSON, nullable=False),
    sa.Column("story_ids", sa.JSON, nullable=False),
    sa.Index("incident_changes_by_time", "moment"),
)

# --- alerts -----------------------------------------------------------------------------------------------------------

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("site_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("rule", sa.JSON, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
)

# Named lists of companies that rules refer to.
watchlists = sa.Table(
    "watchlists",
    metadata,
    sa.Column("site_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("companies", sa.JSON, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("updated", Moment, nullable=False),
)

channels = sa.Table(
    "channels",
    metadata,
    sa.Column("site_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("updated", Moment, nullable=False),
    # last outcome, for the channel page: new, ok, failing, limited; nothing is sent before `retry_at`
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("retry_at", Moment),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("site_id", sa.String(64), nullable=False),
    sa.Column("subscription_id", sa.String(32), nullable=False),
    sa.Column("incident_id", sa.String(32), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    # why it was not sent at once: "", quiet, session, group, limit (sent at `due`); silenced, acknowledged, digest
    sa.Column("held", sa.String(32), nullable=False),
    sa.Column("due", Moment),
    sa.Index("alerts_by_time", "site_id", "created"),
    sa.Index("alerts_by_incident", "incident_id", "revision"),
)

# One row for what a channel is told of a revision. `key` = SHA-256 of (site, incident, channel, revision), so that
# nothing is queued twice. A row that travels in another row's message is `merged` into it.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("site_id", sa.String(64), nullable=False),
    sa.Column("incident_id", sa.String(64), nullable=False),
    sa.Column("channel", sa.String(64), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("subscription_id", sa.String(32), nullable=False),
    sa.Column("group_key", sa.String(64), nullable=False),
    sa.Column("merged_into", sa.String(64), nullable=False),
    sa.Column("alert_ids", sa.JSON, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    # pending, sending, sent, failed (for good), ambiguous (sent or not: nobody knows), merged
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # `planned` is when the rule wants it sent, and stays; `due` is the next attempt.
    sa.Column("planned", Moment, nullable=False),
    sa.Column("due", Moment, nullable=False),
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
    sa.Index("outbox_by_state", "state", "due"),
    sa.Index("outbox_by_channel", "site_id", "channel", "state", "due"),
    sa.Index("outbox_by_incident", "incident_id", "revision"),
    sa.Index("outbox_by_subscription", "subscription_id", "channel", "planned"),
    sa.Index("outbox_by_time", "created"),
)

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("site_id", sa.String(64), nullable=False),
    sa.Column("matcher", sa.JSON, nullable=False),
    sa.Column("starts", Moment, nullable=False),
    sa.Column("ends", Moment, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
)

acknowledgements = sa.Table(
    "acknowledgements",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("incident_id", sa.String(32), nullable=False),
    sa.Column("site_id", sa.String(64), nullable=False),
    # what was acknowledged: it holds until the severity rises above this one
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("moment", Moment, nullable=False),
    sa.Index("acknowledgements_by_incident", "site_id", "incident_id"),
)

# --- what people say --------------------------------------------------------------------------------------------------

corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("site_id", sa.String(64), nullable=False),
    sa.Column("article_id", sa.String(32), nullable=False),
    sa.Column("company_id", sa.String(64), nullable=False),  # "" for the text as a whole
    sa.Column("field", sa.String(16), nullable=False),  # sentiment, topics
    sa.Column("value", sa.String(400), nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("moment", Moment, nullable=False),
    sa.Index("corrections_by_article", "article_id"),
)
