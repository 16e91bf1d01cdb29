"""Leases: one holder at a time among processes that share a database.

A holder renews before its time is over; one that dies is replaced when it is. Times are the machines' own clocks,
so a lease has to be much longer than their difference (seconds, where clocks are synchronised at all). All who ask for
a lease ask for the same time: one that would end later than twice that was taken by a clock that has been set back
since, and counts as over.
"""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from headwater.storage.tables import leases


@dataclass(frozen=True)
class Lease:
    """`term` grows with each change of holder: a writer with an older term has been replaced."""

    name: str
    holder: str
    expires: float
    term: int


def acquire(engine: sa.Engine, name: str, holder: str, seconds: float) -> Lease | None:
    """Take or renew the lease for `seconds`; None while another holder has it."""
    now = time.time()
    mine = leases.c.holder == holder
    with engine.begin() as connection:
        taken = connection.execute(
            leases.update()
            .where(leases.c.name == name, sa.or_(mine, leases.c.expires < now, leases.c.expires > now + 2 * seconds))
            .values(holder=holder, expires=now + seconds, term=leases.c.term + sa.case((mine, 0), else_=1))
        )
        if taken.rowcount == 1:
            return _read(connection, name)
    try:
        with engine.begin() as connection:
            connection.execute(leases.insert().values(name=name, holder=holder, expires=now + seconds, term=1))
    except sa.exc.IntegrityError:
        return None
    return Lease(name, holder, now + seconds, 1)


def release(engine: sa.Engine, name: str, holder: str) -> None:
    """Give the lease back at once; nothing happens when another holder has it."""
    # Just over rather than never held, so that it is known since when there is no holder.
    over = time.time() - 0.001
    with engine.begin() as connection:
        connection.execute(leases.update().where(leases.c.name == name, leases.c.holder == holder).values(expires=over))


def last_of(engine: sa.Engine, name: str) -> Lease | None:
    """The lease as it was last held, whether or not it is over."""
    with engine.connect() as connection:
        return _read(connection, name)


def holder_of(engine: sa.Engine, name: str) -> Lease | None:
    """The lease as it stands, None when nobody holds it now."""
    with engine.connect() as connection:
        lease = _read(connection, name)
    return lease if lease is not None and lease.expires >= time.time() else None


def _read(connection: sa.Connection, name: str) -> Lease | None:
    row = connection.execute(sa.select(leases).where(leases.c.name == name)).first()
    return None if row is None else Lease(row.name, row.holder, row.expires, row.term)
