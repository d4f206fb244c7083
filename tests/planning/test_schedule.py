"""When the last job of a sweep ends, against schedules drawn by hand."""

from __future__ import annotations

import pytest

from minituner.planning.schedule import Job, evaluations, sweep_seconds


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, 2 + 5 + 3 + 4 + 1),
        (2, 8),  # 5 then 3; 4 then 1 then 2
        (3, 8),  # 5 then 3 is the longest chain
        (9, 8),
    ],
)
def test_jobs_wait_for_cores_and_for_each_other(cores: int, expected: float) -> None:
    jobs = [
        Job(2),
        Job(5, priority=1),
        Job(3, after=1),
        Job(4, priority=1),
        Job(1, after=3),
    ]
    assert sweep_seconds(jobs, cores) == expected


def test_a_job_takes_its_threads_but_at_most_all_cores() -> None:
    jobs = [Job(3, threads=2), Job(3, threads=2), Job(1)]
    assert sweep_seconds(jobs, 3) == 6  # one core is left for the short one
    assert sweep_seconds(jobs, 4) == 4
    assert sweep_seconds(jobs, 1) == 7
    assert sweep_seconds([], 2) == 0


@pytest.mark.parametrize(
    ("steps", "every", "from_step", "expected"),
    [
        (10, 5, 0, 3),  # 0, 5, 10
        (10, 5, 1, 2),
        (11, 5, 0, 4),  # and at the end
        (3, 100, 1, 1),
        (3, 1, 0, 4),
    ],
)
def test_evaluations_are_counted(steps: int, every: int, from_step: int, expected: int) -> None:
    assert evaluations(steps, every, from_step) == expected
