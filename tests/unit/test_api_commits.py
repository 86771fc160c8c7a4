"""Commits that are shared: who comes while one is written goes in the next, and everybody hears of their own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from kith.errors import StateUnavailable
from kith.intake import Receipt
from kith.jobs import EmbedJob, ImageRef, Kind, Lane
from kith.ledger import Accepted
from producers.api.commits import Commits


def job(name: str) -> EmbedJob:
    return EmbedJob(name, Kind.IDENTIFY, "g", Lane.BULK, (ImageRef("k"),), 0)


class Intake:
    """Keeps what each commit held. gate: the first one waits until it is set. refuse: raises for what it does not
    like."""

    def __init__(self, refuse: Callable[[Sequence[EmbedJob]], None] = lambda _: None) -> None:
        self.commits: list[list[str]] = []
        self.gate, self.begun, self._refuse = threading.Event(), threading.Event(), refuse

    def offer(self, jobs: Sequence[EmbedJob]) -> list[Receipt]:
        self.commits.append([each.job_id for each in jobs])
        self.begun.set()
        assert self.gate.wait(10)
        self._refuse(jobs)
        return [Receipt(each.job_id, Accepted.NEW) for each in jobs]


def together(intake: Intake, *asked: Sequence[str]) -> list[Any]:
    """What each caller got: the first comes, and while its jobs are written all the others do."""

    async def all_of_them() -> list[Any]:
        commits = Commits(intake.offer)
        callers = [asyncio.create_task(commits.commit([job(name) for name in asked[0]]))]
        await asyncio.to_thread(intake.begun.wait, 10)
        callers += [asyncio.create_task(commits.commit([job(name) for name in each])) for each in asked[1:]]
        await asyncio.sleep(0)
        intake.gate.set()
        return await asyncio.gather(*callers, return_exceptions=True)

    return asyncio.run(all_of_them())


def ids(answer: Any) -> list[str]:
    return [each.job_id for each in answer]


def test_who_comes_while_a_commit_is_written_goes_in_the_next_one() -> None:
    intake = Intake()
    answers = together(intake, ["a"], ["b"], ["c1", "c2"], ["d"])

    assert intake.commits == [["a"], ["b", "c1", "c2", "d"]]
    assert [ids(each) for each in answers] == [["a"], ["b"], ["c1", "c2"], ["d"]]


def test_no_commit_is_larger_than_the_broker_takes_at_once_and_nobodys_jobs_are_torn_apart() -> None:
    intake = Intake()
    large = [f"b{number}" for number in range(100)]
    answers = together(intake, ["a"], large, *([f"c{number}"] for number in range(70)))

    assert [len(each) for each in intake.commits] == [1, 100, 64, 6]
    assert ids(answers[1]) == large


def test_a_part_that_is_away_is_told_to_everybody_by_an_error_of_their_own() -> None:
    def away(jobs: Sequence[EmbedJob]) -> None:
        if len(jobs) > 1:
            raise StateUnavailable("Redis is away")

    answers = together(Intake(away), ["a"], ["b"], ["c"])

    assert ids(answers[0]) == ["a"]
    assert [str(each) for each in answers[1:]] == ["Redis is away"] * 2
    assert answers[1] is not answers[2]


def test_what_nobody_foresaw_in_one_job_harms_no_other() -> None:
    def dislikes_c(jobs: Sequence[EmbedJob]) -> None:
        if any(each.job_id == "c" for each in jobs):
            raise RuntimeError("c")

    answers = together(Intake(dislikes_c), ["a"], ["b"], ["c"], ["d"])

    assert [ids(each) for each in (answers[0], answers[1], answers[3])] == [["a"], ["b"], ["d"]]
    assert isinstance(answers[2], RuntimeError)


def test_a_caller_who_hangs_up_takes_nobody_with_it() -> None:
    intake = Intake()

    async def one_leaves() -> list[Receipt]:
        commits = Commits(intake.offer)
        leaves = asyncio.create_task(commits.commit([job("a")]))
        await asyncio.to_thread(intake.begun.wait, 10)
        stays = asyncio.create_task(commits.commit([job("b")]))
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        intake.gate.set()
        return await stays

    assert ids(asyncio.run(one_leaves())) == ["b"]
    assert intake.commits == [["a"], ["b"]], "what was begun is finished"


def test_after_a_quiet_time_the_next_one_is_written_at_once() -> None:
    intake = Intake()
    intake.gate.set()

    async def one_by_one() -> None:
        commits = Commits(intake.offer)
        for name in "ab":
            await commits.commit([job(name)])

    run: Coroutine[Any, Any, None] = one_by_one()
    asyncio.run(run)
    assert intake.commits == [["a"], ["b"]]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_waits_for_ever(count: int) -> None:
    intake = Intake()
    intake.gate.set()

    async def some() -> list[Receipt]:
        return await asyncio.wait_for(Commits(intake.offer).commit([job("a")] * count), 10)

    assert len(asyncio.run(some())) == count
