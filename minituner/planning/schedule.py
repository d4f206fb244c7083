"""How long jobs take that share a number of cores."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A job of a sweep.

    Args:
        threads: The cores that it takes.
        after: The index of the job that must have ended before, if there is one.
        priority: Of the jobs that could start, those with the highest do.
    """

    seconds: float
    threads: int = 1
    after: int | None = None
    priority: int = 0


def sweep_seconds(jobs: Sequence[Job], cores: int) -> float:
    """When the last job ends, if every job starts as soon as it can; a job that takes more cores
    than there are gets all of them, as Snakemake does it."""
    waiting = sorted(range(len(jobs)), key=lambda i: -jobs[i].priority)
    running: list[tuple[float, int]] = []
    ended: set[int | None] = {None}
    free, now = cores, 0.0
    while waiting or running:
        for i in list(waiting):
            if jobs[i].after in ended and min(jobs[i].threads, cores) <= free:
                free -= min(jobs[i].threads, cores)
                heapq.heappush(running, (now + jobs[i].seconds, i))
                waiting.remove(i)
        now, i = heapq.heappop(running)
        free += min(jobs[i].threads, cores)
        ended.add(i)
    return now


def evaluations(steps: int, every: int, from_step: int = 0) -> int:
    """How often a loop of ``steps`` steps evaluates: every so many steps, and at the end."""
    return sum(step % every == 0 or step == steps for step in range(from_step, steps + 1))
