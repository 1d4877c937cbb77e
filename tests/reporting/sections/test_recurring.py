from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from sslkit.evaluation.discovered_classes import DiscoveredClasses
from sslkit.reporting.encoded_split import EncodedSplit
from sslkit.reporting.sections.recurring import recurrence


def test_classes_that_come_back_and_those_that_do_not(encoded_split: Callable[..., EncodedSplit]) -> None:
    assigned = torch.arange(3).repeat_interleave(10)
    encoded = encoded_split(torch.zeros(30, 2), discovered=DiscoveredClasses(assigned, torch.ones(30), 3))
    assert recurrence(encoded, []) == ([], "")
    same = (assigned + 1) % 3
    # Class 0 stays, classes 1 and 2 are mixed.
    mixed = torch.cat([torch.zeros(10), 1 + torch.arange(20) % 2]).long()
    texts, note = recurrence(replace(encoded, other_classifiers=(same, mixed)), [mixed])
    where = "3 other classifiers of the run and runs"
    assert texts == [f"comes back in 3 of {where}"] + [
        f"does not recur reliably: comes back in 1 of {where}" for _ in range(2)
    ]
    assert note.startswith(f"1 of 3 classes come back in at least half of {where}")
    assert "2 of 3 other" not in note
    alone, _ = recurrence(encoded, [same])
    assert alone == ["comes back in 1 of 1 other run"] * 3
