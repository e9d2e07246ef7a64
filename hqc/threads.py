"""Work on many items, shared among threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock
from typing import Any

from hqc.errors import UserError


def usable_cores() -> int:
    """How many cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def thread_count(threads: int | None) -> int:
    """As many threads as are asked for; None stands for `usable_cores`. Raises `UserError`."""
    if threads is None:
        return usable_cores()
    if threads < 1:
        raise UserError(
            f"{threads} threads do no work",
            hint="give 1 or more, or leave it out: then there is one for each core",
        )
    return threads


def in_threads(function: Callable[[Any], Any], items: Iterable, threads: int | None = None) -> list:
    """The function's results for all items, in their order, computed by that many threads.

    `threads` is by default `usable_cores`; one is the caller's own. A thread asks for the next item
    when it is done with its last, and only one asks at a time: no more items are held than there
    are threads, whatever gives them. What is raised for an item, or in place of one, ends the work,
    and is raised here: for several items that of the first, which does not depend on the threads.
    """
    count = thread_count(threads)
    source, asking = iter(items), Lock()
    results: list = []
    failed: dict[int, BaseException] = {}

    def work() -> None:
        while True:
            with asking:
                if failed:
                    return
                place = len(results)
                try:
                    item = next(source)
                except StopIteration:
                    return
                except BaseException as error:
                    failed[place] = error
                    return
                results.append(None)
            try:
                results[place] = function(item)
            except BaseException as error:
                failed[place] = error

    if count == 1:
        work()
    else:
        with ThreadPoolExecutor(count) as pool:
            try:
                busy = {pool.submit(work) for _ in range(count)}
                while busy:  # a signal just before a wait does not end it: so none is long
                    busy = wait(busy, timeout=0.1).not_done
            except BaseException as error:  # of the caller's thread: somebody interrupts it
                failed[-1] = error
    if failed:
        raise failed[min(failed)]
    return results
