from __future__ import annotations

import threading
import time

from sslkit.data.datasets.folder.threads import in_order


def test_threads_work_ahead_while_the_caller_is_busy_but_not_without_end() -> None:
    begun: list[int] = []
    enough = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if len(begun) >= 200:
            enough.set()
        return -item

    results = in_order(work, range(10_000), ahead=256)
    assert next(results) == 0
    # Nothing more is asked for; the threads go on by themselves, as far as they may.
    assert enough.wait(30)
    while len(begun) != (before := len(begun)) or before % 16:
        time.sleep(0.02)
    assert len(begun) < 2000
    assert list(results) == [-item for item in range(1, 10_000)]
