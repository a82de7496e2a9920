"""Takes the samples of a case: our tool and its peer in turns."""

import shutil
from pathlib import Path

from .cases import Case
from .contenders import contenders
from .figures import Sample
from .tools import Tools


def measure_case(case: Case, tools: Tools, runs: int, work: Path) -> list[list[Sample]]:
    """``runs`` samples of ours and, where there is a peer, as many of it, taken in turns (ours, its, ours).

    One process of each goes before, uncounted, to warm the caches. What the case leaves in ``work`` is
    removed. Raises CommandFailedError.
    """
    try:
        measured = contenders(case, tools, work)
        samples: list[list[Sample]] = [[] for _ in measured]
        for turn in range(runs + 1):
            for contender, taken in zip(measured, samples, strict=True):
                sample = contender.measure()
                if turn > 0:
                    taken.append(sample)
        return samples
    finally:
        shutil.rmtree(work / case.key)
