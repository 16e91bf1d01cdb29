"""Which articles tell the same story."""

import hashlib
import math
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from finance_monitor.domain import StoryPlace
from finance_monitor.likeness import Member, Rarity, pack, read_member, unpack
from finance_monitor.stories import StoryIndex

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FIRE = (
    "A fire stopped work at the Halden rolling mill near Leeds on Monday morning. Two of its three lines are closed. "
    "Nobody was hurt, the company said. Insurers put the damage at 14 million pounds, and 320 people are sent home."
)
STRIKE = (
    "Pilots of Orwell Air will strike for 48 hours from Friday after talks on rosters broke down. The union says 90 % "
    "voted for it. The airline plans to fly a quarter of its timetable with hired crews."
)
HAN = (
    "恒岑科技周一晚间公告，因涉嫌信息披露违法违规，公司及董事长被证监会立案调查。"
    "公司称生产经营正常，将积极配合。股价当日跌停，成交12.4亿元。"
)


def vector(*words: str) -> NDArray[np.float32]:
    """A stand-in for the encoder: texts of the same words point the same way."""
    total = np.zeros(384, np.float32)
    for word in words:
        seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
        total += np.random.default_rng(seed).standard_normal(384).astype(np.float32)
    return total / np.linalg.norm(total)


SUBJECTS = ("Rain in June", "Copper stocks", "Rail fares", "A new port", "Wheat sales", "Tax rules", "Chips", "Gold")
VECTOR = vector(*sorted(set(f"Fire at Halden mill {FIRE}".lower().split())))


def place(
    index: StoryIndex, name: str, title: str, text: str, hours: float = 0, company: str = "halden", language: str = "en"
) -> StoryPlace:
    words = vector(*sorted(set((title + " " + text).lower().split()))) if language == "en" else vector(text[:20])
    companies = frozenset([company] if company else [])
    return index.place(name, title, text, words, companies, NOON + timedelta(hours=hours), language)


def test_a_reprint_joins_its_story_with_little_novelty() -> None:
    index = StoryIndex()
    first = place(index, "a", "Fire at Halden mill", FIRE)
    again = place(index, "b", "Fire stops Halden mill", FIRE[:220], 2)
    assert first.relation == "first" and first.novelty == 1.0
    assert again.story_id == first.story_id and again.relation == "reprint" and again.novelty < 0.5
    assert again.nearest == "a"


def test_another_event_of_the_same_company_is_another_story() -> None:
    index = StoryIndex()
    place(index, "a", "Fire at Halden mill", FIRE)
    other = place(index, "b", "Halden names a finance chief", "Halden said that Ann Poole joins its board in May.", 3)
    assert other.relation == "first" and len(index) == 2


def test_the_same_words_outside_the_window_are_a_new_story() -> None:
    index = StoryIndex(window_days=4)
    first = place(index, "a", "Fire at Halden mill", FIRE)
    later = place(index, "b", "Fire at Halden mill", FIRE, 24 * 9)
    assert later.story_id != first.story_id


def test_languages_do_not_mix_and_chinese_reprints_are_found() -> None:
    index = StoryIndex()
    first = place(index, "a", "恒岑科技被立案调查", HAN, company="hengcen", language="zh")
    again = place(index, "b", "恒岑科技遭证监会立案", HAN[:60], 1, company="hengcen", language="zh")
    assert again.story_id == first.story_id
    assert place(index, "c", "恒岑科技被立案调查", HAN, 1, company="hengcen", language="ja").story_id != first.story_id


def test_a_correction_takes_the_place_of_its_former_self() -> None:
    index = StoryIndex()
    first = place(index, "a", "Fire at Halden mill", FIRE)
    corrected = place(index, "a", "Fire at Halden mill", FIRE.replace("14 million", "41 million"), 1)
    assert corrected.story_id == first.story_id and len(index) == 1


def test_fingerprints_bring_back_the_same_decisions() -> None:
    index, restored = StoryIndex(), StoryIndex()
    for name, title, text in (("a", "Fire at Halden mill", FIRE), ("b", "Pilots to strike", STRIKE)):
        found = place(index, name, title, text)
        restored.restore(name, found.story_id, NOON, "en", index.fingerprint(name))
    for name, title, text in (("c", "Halden mill burns", FIRE[:200]), ("d", "Weather", "Rain is expected in June.")):
        assert place(index, name, title, text, 1) == place(restored, name, title, text, 1)


def test_a_fingerprint_of_an_earlier_version_is_still_read() -> None:
    """Those began with the MinHash values and held no words; the figures are of the article that they were kept of."""
    index = StoryIndex()
    first = place(index, "a", "Fire at Halden mill", FIRE)
    member = read_member("a", "Fire at Halden mill", FIRE, VECTOR, frozenset(["halden"]), NOON, "en")
    words = "\x1e".join(("halden", "\x1f".join(sorted(member.numbers)))).encode()
    old = member.signature.tobytes() + np.float16(member.vector).tobytes() + b"\x00" + words
    restored = StoryIndex()
    restored.restore("a", first.story_id, NOON, "en", old)
    again = place(restored, "b", "Fire stops Halden mill", FIRE, 2)
    assert again.story_id == first.story_id and again.nearest == "a"
    kept = unpack("a", "s", NOON, "en", old)
    assert (kept.companies, kept.numbers) == (member.companies, member.numbers)
    assert np.array_equal(kept.vector, member.vector) and np.array_equal(kept.signature, member.signature)


def test_a_fingerprint_gives_back_all_that_is_compared() -> None:
    member = read_member("a", "恒岑科技被立案调查", HAN, vector("x"), frozenset(["hengcen", "甲"]), NOON, "zh")
    kept = unpack("a", "", NOON, "zh", pack(member))
    assert all(np.array_equal(getattr(kept, f.name), getattr(member, f.name)) for f in fields(Member))
    assert member.words and member.title and len(pack(member)) < 3000


def test_what_a_source_puts_under_everything_makes_no_story() -> None:
    index = StoryIndex()
    foot = "Sign up for our daily briefing on markets, companies and the economy, delivered before the opening bell."
    for number in range(40):
        place(index, f"f{number}", f"Notice {number}", f"{SUBJECTS[number % 8]} {number}. {foot}", company="")
    one = place(index, "a", "Fire at Halden mill", f"Fire at Halden mill. {foot}", company="")
    other = place(index, "b", "Pilots to strike", f"Pilots of Orwell to strike. {foot}", company="")
    assert one.relation == other.relation == "first"


def test_the_weight_of_words_follows_the_articles_that_come_and_go() -> None:
    fire, talks = frozenset([1, 2, 3]), frozenset([3, 4])
    rarity = Rarity()
    rarity.add(fire)
    alone = rarity.total(fire)
    rarity.add(talks)
    assert rarity.total(fire) == math.fsum(math.log(1 + 52 / (seen + 1)) for seen in (1, 1, 2))
    rarity.remove(talks)
    assert rarity.total(fire) == alone == math.fsum([math.log(1 + 51 / 2)] * 3)


def test_a_restart_within_a_stream_moves_no_article() -> None:
    texts = [FIRE, STRIKE, FIRE[:150], STRIKE.replace("48", "72"), FIRE.replace("14", "41"), STRIKE[60:]]
    index, places = StoryIndex(), []
    for number, text in enumerate(texts * 4):
        again = StoryIndex()
        for known, story, moment, data in places:
            again.restore(known, story, moment, "en", data)
        args = (f"{number:02d}", text[:30], text, number * 5.0)
        index.forget(NOON - timedelta(days=8))
        found = place(index, *args)
        assert place(again, *args) == found
        places.append((args[0], found.story_id, NOON + timedelta(hours=args[3]), index.fingerprint(args[0])))


def test_memory_is_bounded_by_forgetting() -> None:
    index = StoryIndex()
    for number in range(30):
        place(index, str(number), f"Fire at mill {number}", f"{FIRE} {number}", number * 10)
    index.forget(NOON + timedelta(hours=200))
    assert len(index) == 10
    assert place(index, "new", "Fire at mill 29", f"{FIRE} 29", 291).relation == "reprint"
