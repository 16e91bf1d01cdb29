"""Conversations are redacted, searched, rated, exported, erased and forgotten in time; on both databases."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from headwater.cli.main import cli
from headwater.errors import HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from support_bot import privacy
from support_bot.conversations import Conversations
from support_bot.domain import Answer
from support_bot.jobs import schedule
from support_bot.tables import conversations as table


@pytest.fixture
def engine(database_settings: Settings) -> sa.Engine:
    made = open_engine(database_settings, "support")
    migrate(made, "support")
    return made


def answer(text: str = "Five working days.", path: str = "template") -> Answer:
    return Answer(path, text, "en", 0.9, timings={"total": 4.0})


def test_turns_of_a_conversation_are_kept_in_order_and_redacted(engine: sa.Engine) -> None:
    talks = Conversations(engine, "shop")

    talk, first = talks.add_turn(None, "I am ann@example.com, refund?", answer())
    _, second = talks.add_turn(talk, "and with card 4111 1111 1111 1111?", answer("Call 01632 960 140."))

    found = talks.get(talk)
    assert (first, second) == (1, 2)
    assert [turn["question"] for turn in found["turns"]] == ["I am [EMAIL], refund?", "and with card [CARD]?"]
    assert found["turns"][1]["answer"] == "Call [PHONE]."


def test_search_finds_words_literally_and_by_path(engine: sa.Engine) -> None:
    talks = Conversations(engine, "shop")
    talks.add_turn(None, "100% refund?", answer())
    talks.add_turn(None, "weather?", answer("No idea.", "refused"))

    assert [t["question"] for t in talks.search("100%")] == ["100% refund?"]
    assert [t["question"] for t in talks.search("", "refused")] == ["weather?"]
    assert talks.search("%") == talks.search("100%")
    assert talks.counts() == {"template": 1, "refused": 1}


def test_an_unknown_or_foreign_conversation_is_refused(engine: sa.Engine) -> None:
    talk, _ = Conversations(engine, "shop").add_turn(None, "hi", answer())
    other = Conversations(engine, "other")

    with pytest.raises(NotFound):
        Conversations(engine, "shop").add_turn("nothing", "hi", answer())
    with pytest.raises(NotFound):
        other.get(talk)
    with pytest.raises(NotFound):
        other.add_turn(talk, "hi", answer())
    with pytest.raises(NotFound):
        other.rate(talk, 1, 1)
    assert other.search() == []


def test_ratings_are_one_or_minus_one(engine: sa.Engine) -> None:
    talks = Conversations(engine, "shop")
    talk, number = talks.add_turn(None, "hi", answer())

    talks.rate(talk, number, -1, "write to bob@example.com")
    with pytest.raises(HeadwaterError, match="1 or -1, not 5"):
        talks.rate(talk, number, 5)
    with pytest.raises(NotFound, match="no turn 9"):
        talks.rate(talk, 9, 1)
    turn = talks.get(talk)["turns"][0]
    assert (turn["feedback"], turn["feedback_reason"]) == (-1, "write to [EMAIL]")


def test_a_subject_gets_a_copy_and_is_forgotten(engine: sa.Engine) -> None:
    talks = Conversations(engine, "shop")
    talks.add_turn(None, "mine", answer(), subject="c-1")
    kept, _ = talks.add_turn(None, "another's", answer(), subject="c-2")

    assert [t["question"] for c in privacy.export(engine, "shop", "c-1") for t in c["turns"]] == ["mine"]
    assert privacy.erase(engine, "shop", "c-1") == 1
    assert privacy.export(engine, "shop", "c-1") == []
    assert talks.get(kept)["turns"]


def make_old(engine: sa.Engine, *ids: str) -> None:
    with engine.begin() as connection:
        connection.execute(table.update().where(table.c.id.in_(ids)).values(updated=now() - timedelta(days=400)))


def test_retention_without_a_site_covers_the_old_conversations_of_all(
    engine: sa.Engine, database_settings: Settings
) -> None:
    shop, other = Conversations(engine, "shop"), Conversations(engine, "other")
    kept, _ = other.add_turn(None, "new", answer())
    make_old(engine, *(talks.add_turn(None, "old", answer())[0] for talks in (shop, other, other)))
    (scheduled,) = [job for job in schedule(database_settings) if "retention" in job.argv]

    done = CliRunner().invoke(cli, [*scheduled.argv[:2], "--site", "other", *scheduled.argv[2:]])
    assert done.output == "2 conversations deleted (site other)\n"
    make_old(engine, other.add_turn(None, "old", answer())[0])
    assert CliRunner().invoke(cli, scheduled.argv).output == "2 conversations deleted (all sites)\n"
    assert [turn["conversation_id"] for turn in other.search()] == [kept]
    assert CliRunner().invoke(cli, ["support", "retention", "--days", "0"]).exit_code != 0


def test_old_conversations_end_with_their_time(engine: sa.Engine) -> None:
    talks = Conversations(engine, "shop")
    old, _ = talks.add_turn(None, "old", answer())
    new, _ = talks.add_turn(None, "new", answer())
    make_old(engine, old)

    assert privacy.retention(engine, "shop", 365) == 1
    assert talks.get(new)
    with pytest.raises(NotFound):
        talks.get(old)
