"""A lease has one holder, who can renew it, give it back, or lose it by silence."""

import threading
import time

import sqlalchemy as sa

from headwater.storage import leases


def test_second_holder_waits_until_the_first_gives_the_lease_back(house: sa.Engine) -> None:
    first = leases.acquire(house, "scheduler", "a", 30)
    assert first is not None
    assert leases.acquire(house, "scheduler", "b", 30) is None
    leases.release(house, "scheduler", "b")
    assert leases.holder_of(house, "scheduler") == first
    leases.release(house, "scheduler", "a")
    assert leases.holder_of(house, "scheduler") is None
    second = leases.acquire(house, "scheduler", "b", 30)
    assert second is not None
    assert (second.holder, second.term) == ("b", first.term + 1)


def test_renewing_keeps_the_term_and_moves_the_end(house: sa.Engine) -> None:
    first = leases.acquire(house, "scheduler", "a", 5)
    renewed = leases.acquire(house, "scheduler", "a", 50)
    assert first is not None
    assert renewed is not None
    assert renewed.term == first.term
    assert renewed.expires > first.expires + 40


def test_silent_holder_is_replaced_after_its_time(house: sa.Engine) -> None:
    leases.acquire(house, "scheduler", "a", 0.05)
    time.sleep(0.1)
    assert leases.acquire(house, "scheduler", "b", 30) is not None
    assert leases.acquire(house, "scheduler", "a", 30) is None


def test_of_many_that_ask_at_once_one_gets_the_lease(house: sa.Engine) -> None:
    winners: list[str] = []
    barrier = threading.Barrier(6)

    def ask(name: str) -> None:
        barrier.wait()
        if leases.acquire(house, "scheduler", name, 30) is not None:
            winners.append(name)

    threads = [threading.Thread(target=ask, args=(f"h{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(winners) == 1
