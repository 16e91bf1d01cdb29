"""Named lists of companies that rules refer to, made by hand or from a file of tickers and names."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from finance_monitor import tables
from headwater.errors import HeadwaterError, NotFound

# Headings under which the columns of an imported watchlist are looked for, in this order.
_HEADINGS = ("ticker", "symbol", "isin", "company", "name", "代码", "股票代码", "公司", "名称", "证券简称")


def save(
    connection: sa.Connection, site_id: str, name: str, companies: Sequence[str], *, actor: str, moment: datetime
) -> None:
    """Store a named list of company ids, over the one of that name. Raises HeadwaterError when it is empty."""
    ids = list(dict.fromkeys(companies))
    if not name.strip() or len(name) > 64:
        raise HeadwaterError(f"watchlist: a name of 1 to 64 characters, found {name!r}")
    if not ids:
        raise HeadwaterError(f"the watchlist {name!r} has no company; give at least one")
    table = tables.watchlists
    values = {"companies": ids, "actor": actor, "updated": moment}
    mine = (table.c.site_id == site_id, table.c.name == name)
    if not connection.execute(table.update().where(*mine).values(values)).rowcount:
        connection.execute(table.insert().values(site_id=site_id, name=name, **values))


def watchlist(connection: sa.Connection, site_id: str, name: str) -> tuple[str, ...]:
    """The company ids of a list. Raises NotFound naming those that exist."""
    found = watchlists(connection, site_id)
    if name not in found:
        raise NotFound(f"no watchlist {name!r}; those that exist: {', '.join(found) or 'none'}")
    return found[name]


def watchlists(connection: sa.Connection, site_id: str) -> dict[str, tuple[str, ...]]:
    """Every list of the site, {name: company ids}."""
    table = tables.watchlists
    query = sa.select(table.c.name, table.c.companies).where(table.c.site_id == site_id).order_by(table.c.name)
    return {row.name: tuple(row.companies) for row in connection.execute(query)}


def delete(connection: sa.Connection, site_id: str, name: str) -> None:
    """Raises NotFound, and HeadwaterError while a rule refers to it."""
    watchlist(connection, site_id, name)
    rules = sa.select(tables.subscriptions).where(tables.subscriptions.c.site_id == site_id)
    users = [row.name for row in connection.execute(rules) if row.rule.get("watchlist") == name]
    if users:
        raise HeadwaterError(f"the watchlist {name!r} is used by {', '.join(users)}; change those first")
    table = tables.watchlists
    connection.execute(table.delete().where(table.c.site_id == site_id, table.c.name == name))


def read_watchlist(data: bytes, file_name: str, resolve: Callable[[str], Sequence[str]]) -> tuple[list[str], list[str]]:
    """Company ids of a file of tickers or names, and a line a name that was not found or is not one company.

    `.csv` and `.tsv`: the column headed ticker, symbol, name, … or the first; anything else: one a line, `#` comments.
    `resolve` gives the ids of the companies that a text can mean. Raises HeadwaterError when nothing was found.
    """
    found: dict[str, None] = {}
    problems = []
    for line, text in _entries(_decode(data, file_name), file_name):
        ids = list(resolve(text))
        if len(ids) == 1:
            found[ids[0]] = None
        elif not ids:
            problems.append(f"{file_name}:{line}: no company {text!r}")
        else:
            problems.append(f"{file_name}:{line}: {text!r} can be {', '.join(ids)}; write a ticker")
    if not found:
        raise HeadwaterError("\n".join([f"{file_name} names no known company", *problems[:10]]))
    return list(found), problems


def _decode(data: bytes, file_name: str) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise HeadwaterError(f"{file_name} is neither UTF-8 nor GB18030; save it as UTF-8")


def _entries(text: str, file_name: str) -> list[tuple[int, str]]:
    if not file_name.lower().endswith((".csv", ".tsv")):
        lines = [line.split("#", 1)[0].strip() for line in text.splitlines()]
        return [(number, line) for number, line in enumerate(lines, 1) if line]
    first = text.split("\n", 1)[0]
    divider = max("\t;,", key=first.count)
    rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=divider), 1) if any(row)]
    if not rows:
        return []
    headings = [cell.strip().lower() for cell in rows[0][1]]
    column = next((headings.index(name) for name in _HEADINGS if name in headings), None)
    body = rows if column is None else rows[1:]
    cells = [(number, row[column or 0].strip()) for number, row in body if len(row) > (column or 0)]
    return [(number, cell) for number, cell in cells if cell]
