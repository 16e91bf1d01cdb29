"""How the made-up outlets of the news stream put the same event: house styles, headlines, credits, footers, leads.

All of it was written for this project.
"""

import random
import re
from dataclasses import dataclass

HOUSE = {
    "pct": ("percent", "%"), "mln": ("million", "m"), "dlrs": ("dollars", "US dollars"), "dlr": ("dollar",),
    "stg": ("pounds",), "cts": ("cents",), "qtr": ("quarter",), "mths": ("months",), "shr": ("earnings per share",),
    "vs": ("against", "compared with"), "avg": ("average",), "prev": ("earlier",), "U.S.": ("US", "United States"),
    "U.K.": ("UK", "British"), "oper": ("operating",),
}  # fmt: skip
SYNONYMS = {
    "said": ("announced", "stated", "reported", "confirmed"), "reported": ("posted", "recorded"),
    "company": ("firm", "group"), "agreed to": ("has decided to", "will"), "acquire": ("buy", "take over"),
    "acquisition": ("purchase", "takeover"), "purchase": ("buy", "acquire"), "sell": ("dispose of", "divest"),
    "sale": ("disposal",), "expects": ("foresees", "anticipates"), "expected": ("forecast", "anticipated"),
    "increase": ("rise", "gain"), "increased": ("rose", "grew"), "rose": ("climbed", "advanced"),
    "fell": ("dropped", "declined"), "decline": ("drop", "fall"), "decrease": ("fall",), "higher": ("up",),
    "lower": ("down",), "net profit": ("earnings", "net income"), "profit": ("earnings",), "loss": ("deficit",),
    "shares": ("stock",), "stock": ("shares",), "shareholders": ("stockholders", "investors"),
    "offer": ("bid", "proposal"), "officials": ("authorities",), "government": ("state",),
    "spokesman": ("representative",), "statement": ("announcement",), "plans to": ("intends to", "aims to"),
    "plan": ("proposal",), "will": ("is to", "is due to"), "about": ("around", "roughly"),
    "approximately": ("about", "some"), "approved": ("cleared",), "meeting": ("session", "talks"),
    "talks": ("negotiations",), "market": ("marketplace",), "percent": ("per cent",), "told": ("informed",),
    "year": ("twelve months",), "because of": ("owing to", "due to"), "due to": ("because of",),
    "also": ("in addition",), "however": ("but",), "chairman": ("chair",), "president": ("head",),
    "first": ("initial",), "new": ("fresh",), "total": ("overall",), "begin": ("start",),
    "completed": ("finished", "closed"), "announced": ("unveiled", "said"), "subsidiary": ("unit",),
    "unit": ("subsidiary", "arm"), "compared with": ("against",), "earlier": ("before",), "trading": ("dealing",),
    "including": ("among them",), "recommended": ("advised",), "investors": ("shareholders",),
    "growth": ("expansion",), "rise": ("gain",), "fall": ("drop",), "cut": ("reduce",), "cuts": ("reduces",),
    "raises": ("lifts",), "beats": ("tops",), "deal": ("agreement",), "agreement": ("deal", "accord"),
}  # fmt: skip
ADDED = (
    "Analysts said the news had been expected for some weeks.",
    "Shares were little changed after the announcement.",
    "The stock moved {figure} percent in the hours after the first report.",
    "No further details were given, and calls to its press office went unanswered.",
    "Two people with knowledge of the matter said a decision could come within days.",
    "A union representative called for talks before the end of the month.",
    "Brokers put the effect on this year's results at {figure} million.",
    "The regulator said it had taken note and would not comment.",
    "Competitors declined to say whether they would follow.",
    "A second statement was promised for later in the week.",
    "Traders had put the chance of such a step at {figure} percent.",
    "Customers will be told by letter, it added.",
)
LEADS = (
    "New details emerged {day} about this: {title}.",
    "Investors weighed the consequences {day} after it became known: {title}.",
    "There was more {day} on a story that had moved dealers: {title}.",
    "A fuller account was given {day}. {title}.",
    "Reactions came in {day} to the news that broke earlier: {title}.",
)
DAYS = ("on Monday", "on Tuesday", "on Wednesday", "on Thursday", "on Friday", "late in the day", "before the opening")


@dataclass(frozen=True)
class Outlet:
    """`style`: how often a house word or synonym is put for the wire's own; the rest are texts around the article."""

    name: str
    style: float
    title: str
    head: str
    foot: str
    marks: bool  # company marks such as (XYZ) stay


OUTLETS = (
    Outlet("Northwire", 0.0, "upper", "", "", True),
    Outlet(
        "Ledger Post",
        0.9,
        "plain",
        "(Northwire) - ",
        "Reporting by Northwire; editing by the Ledger Post business desk.",
        False,
    ),
    Outlet(
        "Morning Tally",
        0.6,
        "plain",
        "",
        "Read more in the Morning Tally. Sign up for our daily briefing on markets, companies and the economy, "
        "delivered before the opening bell.",
        True,
    ),
    Outlet("Quayside", 0.0, "suffix", "By Quayside staff and agencies. ", "", True),
    Outlet(
        "Capital Hour",
        1.0,
        "plain",
        "",
        "This article is for information only and is no advice to buy or sell any security. Past results say nothing "
        "about future ones. Capital Hour and its authors may hold positions in what is named here.",
        False,
    ),
    Outlet("Tape", 0.3, "prefix", "", "", True),
    Outlet(
        "Evening Bourse",
        0.8,
        "plain",
        "EVENING BOURSE - ",
        "All rights reserved. No part may be copied without leave of the publisher.",
        False,
    ),
    Outlet(
        "Fieldstone",
        0.0,
        "suffix",
        "",
        "Copyright Northwire. Click here for the full story and for live prices.",
        True,
    ),
    Outlet("Harbour Wire", 0.5, "plain", "HARBOUR, ", "", False),
    Outlet(
        "Desk Nine",
        0.2,
        "prefix",
        "",
        "Have a tip for Desk Nine? Write to the editors. Follow us for breaking business news all day.",
        True,
    ),
    Outlet(
        "Market Lamp",
        0.7,
        "suffix",
        "Summary by Market Lamp: ",
        "More from Market Lamp: today's gainers and losers, the week ahead, and what our readers think.",
        False,
    ),
    Outlet("The Slate Row", 0.4, "plain", "", "", True),
)
PREFIXES = ("UPDATE 1 - ", "BREAKING: ", "Report: ", "JUST IN: ", "WRAPUP - ")
_MARK = re.compile(r" ?\([A-Z]{1,5}(?:\.[A-Z]{1,2})?\)")


def styled(text: str, outlet: Outlet, rng: random.Random) -> str:
    """The text in the outlet's house style, which for one outlet is always the same choice of words."""
    own = random.Random(outlet.name)
    for table in (HOUSE, SYNONYMS if outlet.style >= 0.5 else {}):
        for word, others in table.items():
            other, used = own.choice(others), own.random()
            if used < outlet.style:
                text = re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", other, text)
    return text if outlet.marks or rng.random() < 0.3 else _MARK.sub("", text)


def reworded(text: str, rng: random.Random, share: float = 0.75) -> str:
    """Other words for most of those that have them."""
    for word, others in [*HOUSE.items(), *SYNONYMS.items()]:
        if rng.random() < share:
            text = re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", rng.choice(others), text, flags=re.IGNORECASE)
    return text


def turned(sentence: str) -> str:
    """ "Profit fell, the firm said." → "According to the firm, profit fell."; other sentences as they are."""
    found = re.fullmatch(
        r"(.{20,}?),? (the [a-z ]{3,20}|[A-Z][\w.& -]{2,30}) (?:said|added|told reporters)\.", sentence
    )
    if found is None:
        return sentence
    said, source = found.groups()
    return f"According to {source}, {said[0].lower() if said[1:2].islower() else said[0]}{said[1:]}."


def headline(title: str, outlet: Outlet, rng: random.Random) -> str:
    title = styled(title, outlet, rng)
    if outlet.title == "plain" and title.isupper():
        return title.capitalize()
    if outlet.title == "prefix":
        return rng.choice(PREFIXES) + title
    return f"{title} | {outlet.name}" if outlet.title == "suffix" else title
