"""Alerts and digests as texts: plain, HTML, Markdown; English and Chinese.

A text is made as blocks first. Every character of a block is escaped by the writer of each form, so that no title or
sentence of an article can become markup, a link or a mention.
"""

import functools
import html
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlsplit

from finance_monitor.calendars import zone_of
from finance_monitor.channels.message import Message
from finance_monitor.wording import entity_name, told, topic_name

_STORIES = 10
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#!|~&])")
_AUTOLINK = re.compile(r"(?i)(https?|ftp|mailto)(:)|(www)(\.)")
_LIST_START = re.compile(r"^(\d+)([.)])|^([-+=])")
# The messengers' Markdown has no escapes: what would be markup becomes its full-width twin.
_FULL_WIDTH = {ord(character): chr(ord(character) + 0xFEE0) for character in "\\`*_{}[]<>()#!|~@"}
# C0 and C1, line separators and directional marks, surrogates.
_CONTROLS = ((0, 31), (127, 159), (0x2028, 0x202E), (0x2066, 0x2069), (0xD800, 0xDFFF))


@dataclass(frozen=True)
class Block:
    """`kind` is title, heading, line, item, quote or note; `url` makes the whole block a link."""

    kind: str
    text: str
    url: str = ""


# --- alerts -----------------------------------------------------------------------------------------------------------


def alert_message(key: str, content: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]], dashboard: str) -> Message:
    """The message of one row of the outbox: `content` is the row's, `alerts` the contents of its alerts in order.

    Of each incident the latest revision is told; the earlier ones, which were held, are named.
    """
    languages = tuple(content["languages"])
    # Several subscriptions tell of one revision alike.
    known: dict[str, dict[int, Mapping[str, Any]]] = {}
    for alert in alerts:
        known.setdefault(alert["incident"]["id"], {}).setdefault(alert["incident"]["revision"], alert)
    threads = [[revisions[number] for number in sorted(revisions)] for revisions in known.values()]
    link = _link(dashboard, threads[0][-1]["incident"]["id"])
    blocks: list[Block] = []
    for language in languages:
        if content["kind"] == "escalation":
            blocks.append(Block("line", say("escalated", language, minutes=content["after_minutes"])))
        for thread in threads:
            blocks += _incident_blocks(thread, language)
        names = dict.fromkeys(alert["subscription"]["name"] for alert in alerts)
        blocks.append(Block("note", say("for", language, names=", ".join(names))))
        if link:
            blocks.append(Block("line", say("open", language), link))
    subject = _subject([thread[-1] for thread in threads], content, languages[0])
    data = {"kind": content["kind"], "alerts": [dict(thread[-1]) for thread in threads]}
    fallback = next((story.get("url", "") for thread in threads for story in _stories(thread[-1])), "")
    return _message(key, subject, blocks, link or safe_url(fallback), languages, data)


def _subject(alerts: Sequence[Mapping[str, Any]], content: Mapping[str, Any], language: str) -> str:
    words = _words(language)
    if len(alerts) == 1:
        incident = alerts[0]["incident"]
        subject = say(
            "subject",
            language,
            severity=words["severity"][incident["severity"]],
            name=_name(alerts[0], language),
            change=words["change"][alerts[0]["change"]],
        )
    else:
        names = ", ".join(dict.fromkeys(_name(alert, language) for alert in alerts))
        subject = say("subject_many", language, count=len(alerts), names=names)
    if content["kind"] == "escalation":
        subject = say("subject_escalation", language, minutes=content["after_minutes"], subject=subject)
    return subject


def _incident_blocks(thread: Sequence[Mapping[str, Any]], language: str) -> list[Block]:
    alert = thread[-1]
    words, incident, reason, zone = _words(language), alert["incident"], alert["reason"], alert["zone"]
    severity = words["severity"][incident["severity"]]
    opened = _moment(incident["opened"], zone)
    figures = {"severity": severity, "revision": incident["revision"], "opened": opened}
    state = say("state", language, **figures)
    if incident["closed"]:
        state = say("state_closed", language, **figures, closed=_moment(incident["closed"], zone))
    change = words["change"][alert["change"]]
    blocks = [
        Block("title", say("headline", language, name=_name(alert, language), change=change)),
        Block("line", state),
    ]
    said = told(incident["entity_kind"], incident["entity"], reason, language)
    blocks += [Block("line", said)] if said else []
    blocks += _figure_blocks(reason, zone, language)
    blocks += _story_blocks(alert, language)
    models = reason.get("models", {})
    if models:
        named = ", ".join(f"{name} {bundle}" for name, bundle in sorted(models.items()))
        blocks.append(Block("note", say("models", language, models=named)))
    if len(thread) > 1:
        items = "; ".join(f"{words['change'][one['change']]} {_moment(one['moment'], zone)}" for one in thread[:-1])
        blocks.append(Block("note", say("earlier", language, items=items)))
    return blocks


def _figure_blocks(reason: Mapping[str, Any], zone: str, language: str) -> list[Block]:
    """The window, the share, the baseline and the test, as far as the incident has them."""
    window, baseline = reason.get("window") or {}, reason.get("baseline") or {}
    lines: list[tuple[str, dict[str, Any]]] = []
    if window and "observed" in reason:
        times = {"start": _moment(window["start"], zone), "end": _moment(window["end"], zone)}
        expected = _number(reason.get("expected"))
        lines.append(("window", {**times, "observed": _number(reason["observed"]), "expected": expected}))
    if reason.get("negative_share") is not None:
        lines.append(("share", {"share": f"{reason['negative_share']:.0%}"}))
    if baseline:
        lines.append(("baseline", {name: _number(baseline.get(name)) for name in ("mean", "days", "dispersion")}))
    if reason.get("p_value") is not None:
        figures = {"threshold": _number(reason.get("threshold")), "score": _number(reason.get("score"))}
        lines.append(("test", {"p": _number(reason["p_value"]), **figures}))
    if reason.get("topics"):
        named = ", ".join(topic_name(topic, language) for topic in reason["topics"])
        lines.append(("topics", {"topics": named}))
    return [Block("line", say(key, language, **values)) for key, values in lines]


def _story_blocks(alert: Mapping[str, Any], language: str) -> list[Block]:
    stories = _stories(alert)
    blocks = [Block("heading", say("stories", language))] if stories else []
    for story in stories[:_STORIES]:
        published = _moment(story["published"], alert["zone"]) if story.get("published") else ""
        title = say("story", language, title=story["title"], source=story.get("source", ""), published=published)
        blocks.append(Block("item", title, safe_url(story.get("url", ""))))
        if story.get("label"):
            label = _words(language)["label"].get(story["label"], story["label"])
            figures = {"probability": f"{story.get('probability', 0):.2f}", "novelty": f"{story.get('novelty', 0):.2f}"}
            blocks.append(Block("line", say("scores", language, label=label, **figures)))
        if story.get("sentence"):
            blocks.append(Block("quote", story["sentence"]))
    if len(stories) > _STORIES:
        blocks.append(Block("line", say("more", language, count=len(stories) - _STORIES)))
    return blocks


def _stories(alert: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = alert["reason"].get("stories") or ()
    return found


def _name(alert: Mapping[str, Any], language: str) -> str:
    return entity_name(alert["incident"]["entity_kind"], alert["incident"]["entity"], alert["reason"], language)


# --- digests ----------------------------------------------------------------------------------------------------------


def digest_message(key: str, content: Mapping[str, Any], dashboard: str) -> Message:
    """The message of a digest, whose content `digests.digest` made."""
    digest, language = content["digest"], content["languages"][0]
    zone = digest["zone"]
    title = say(f"digest_{digest['mode']}", language, name=digest["subscription"]["name"])
    start, end = (_moment(digest[name], zone) for name in ("start", "end"))
    blocks = [Block("title", title), Block("line", say("period", language, start=start, end=end))]
    for part in ("new", "open"):
        blocks.append(Block("heading", say("new" if part == "new" else "still_open", language)))
        for incident in digest[part]:
            values = {"name": incident["name"], "opened": _moment(incident["opened"], zone)}
            severity = _words(language)["severity"][incident["severity"]]
            text = say("incident", language, severity=severity, **values)
            blocks.append(Block("item", text, _link(dashboard, incident["id"])))
        if not digest[part]:
            blocks.append(Block("line", say("none", language)))
    blocks.append(Block("heading", say("companies", language)))
    for company in digest["companies"]:
        values = {"negative": company["negative"], "stories": company["stories"], "change": f"{company['change']:+d}"}
        blocks.append(Block("item", say("company", language, name=company["name"], **values)))
    if not digest["companies"]:
        blocks.append(Block("line", say("none", language)))
    link = dashboard.rstrip("/")
    if link:
        blocks.append(Block("line", say("open", language), link))
    return _message(key, title, blocks, link, (language,), {"kind": "digest", "digest": dict(digest)})


# --- the forms --------------------------------------------------------------------------------------------------------


def _message(
    key: str, subject: str, blocks: Sequence[Block], link: str, languages: tuple[str, ...], data: dict[str, Any]
) -> Message:
    blocks = [Block(block.kind, one_line(block.text), block.url) for block in blocks]
    return Message(
        key=key,
        subject=one_line(subject),
        text=_as_text(blocks),
        html=_as_html(blocks, languages[0]),
        markdown=_as_markdown(blocks, escape_markdown),
        simple_markdown=_as_markdown(blocks, escape_simple_markdown),
        link=link,
        languages=languages,
        data=data,
    )


def _as_text(blocks: Sequence[Block]) -> str:
    lines: list[str] = []
    for block in blocks:
        if block.kind in ("title", "heading"):
            lines += ["", block.text, ("=" if block.kind == "title" else "-") * min(len(block.text), 60)]
        else:
            lines.append({"item": "* ", "quote": "    “"}.get(block.kind, "") + block.text + _close(block))
        if block.url:
            lines.append(("  " if block.kind == "item" else "") + block.url)
    return "\n".join(lines).strip() + "\n"


def _close(block: Block) -> str:
    return "”" if block.kind == "quote" else ""


def _as_html(blocks: Sequence[Block], language: str) -> str:
    tags = {"title": "h2", "heading": "h3", "quote": "blockquote", "note": "small"}
    lines = []
    for block in blocks:
        text = html.escape(block.text)
        if block.url:
            text = f'<a href="{html.escape(block.url)}" rel="noopener noreferrer">{text}</a>'
        tag = tags.get(block.kind, "p")
        text = f"<{tag}>{text}</{tag}>"
        lines.append(f"<p>{text}</p>" if tag == "small" else text)
    body = "\n".join(lines)
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"></head><body>\n{body}\n</body></html>\n'
    )


def _as_markdown(blocks: Sequence[Block], escape: Callable[[str], str]) -> str:
    marks = {"title": "## ", "heading": "### ", "item": "- ", "quote": "> "}
    lines = []
    for block in blocks:
        text = escape(block.text)
        if block.url:
            text = f"[{text}]({_markdown_url(block.url)})"
        lines.append(marks.get(block.kind, "") + text)
    return "\n\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """The text so that CommonMark shows it as it is, without links of its own."""
    escaped = _MARKDOWN.sub(r"\\\1", text)
    escaped = _AUTOLINK.sub(lambda found: (found[1] or found[3]) + "\\" + (found[2] or found[4]), escaped)
    return _LIST_START.sub(lambda found: f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}", escaped)


def escape_simple_markdown(text: str) -> str:
    """The text for Markdown that knows no escapes: its signs become their full-width twins."""
    return text.translate(_FULL_WIDTH)


def _markdown_url(url: str) -> str:
    return url.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E").replace("\\", "%5C")


def safe_url(url: str) -> str:
    """The address when it is http(s) and of one piece, else ""."""
    url = url.strip()
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def one_line(text: str) -> str:
    """Without line breaks, control characters, and directional marks, which would turn what stands beside them."""
    kept = "".join(" " if _is_control(character) else character for character in text)
    return " ".join(kept.split())


def _is_control(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _CONTROLS)


def _link(dashboard: str, incident_id: str) -> str:
    return f"{dashboard.rstrip('/')}/?incident={quote(incident_id, safe='')}" if dashboard else ""


def _moment(text: str, zone: str) -> str:
    moment = datetime.fromisoformat(text)
    local = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(zone_of(zone))
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M} " + ("UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.3g}"


# --- words ------------------------------------------------------------------------------------------------------------


def say(key: str, language: str, **values: object) -> str:
    """The sentence `key` of the table [alert] in `language`."""
    return str(_words(language)[key]).format(**values)


@functools.cache
def _words(language: str) -> dict[str, Any]:
    table = tomllib.loads((files("finance_monitor") / "texts" / f"{language}.toml").read_text(encoding="utf-8"))
    words: dict[str, Any] = table["alert"]
    return words
