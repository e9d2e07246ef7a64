"""Work in threads: in order, no more than there are threads, and the first failure is the one."""

from __future__ import annotations

import os
import signal
import threading
import time
from itertools import count

import pytest

from hqc import threads
from hqc.errors import UserError
from hqc.threads import in_threads


@pytest.mark.parametrize("number", [None, 1, 2, 5, 20])
def test_results_are_in_order(number):
    def late(item):
        time.sleep(0.002 * (item % 3))
        return item * item

    assert in_threads(late, range(23), number) == [n * n for n in range(23)]
    assert in_threads(late, iter(()), number) == []


@pytest.mark.parametrize("number", [1, 2, 5])
def test_items_are_asked_for_when_a_thread_is_free(number):
    held = most = 0
    changing = threading.Lock()

    def items():
        nonlocal held, most
        for item in range(50):
            with changing:
                held += 1
                most = max(most, held)
            yield item

    def work(item):
        nonlocal held
        time.sleep(0.001)
        with changing:
            held -= 1

    in_threads(work, items(), number)
    assert 1 <= most <= number


@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_first_failure_is_raised_whichever_is_seen_first(number):
    asked = []

    def items():
        for item in count():
            asked.append(item)
            yield item

    def work(item):
        time.sleep(0.02 if item == 3 else 0)
        if item in (3, 4, 6):
            raise ValueError(item)

    with pytest.raises(ValueError, match=r"^3$"):
        in_threads(work, items(), number)
    assert len(asked) <= 7 + number


@pytest.mark.parametrize("number", [1, 2])
def test_a_failure_of_what_gives_the_items_is_raised(number):
    def items():
        yield 0
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        in_threads(str, items(), number)


def test_an_interrupt_ends_the_work():
    done = []

    def work(item):
        if item == 5:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.001)
        done.append(item)

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(10_000), 2)
    assert len(done) < 10_000


def test_as_many_threads_as_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    met = threading.Barrier(3)
    assert threads.usable_cores() == 3
    in_threads(lambda _: met.wait(timeout=60), range(3))  # all three at once, or it breaks


@pytest.mark.parametrize("number", [0, -1])
def test_none_is_refused(number):
    with pytest.raises(UserError, match=f"{number} threads do no work"):
        in_threads(str, [1], number)
