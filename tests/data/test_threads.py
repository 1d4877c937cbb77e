from __future__ import annotations

import threading
import time

from sslkit.data.threads import map_in_threads


def test_threads_work_ahead_of_the_caller_up_to_a_limit() -> None:
    started: list[int] = []
    enough = threading.Event()

    def work(item: int) -> int:
        started.append(item)
        if len(started) >= 200:
            enough.set()
        return -item

    results = map_in_threads(work, range(10_000), ahead=256)
    assert next(results) == 0
    # No more results are requested; the threads continue up to the limit.
    assert enough.wait(30)
    while len(started) != (before := len(started)) or before % 16:
        time.sleep(0.02)
    assert len(started) < 2000
    assert list(results) == [-item for item in range(1, 10_000)]
