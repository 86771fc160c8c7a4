"""A question to somebody who may hang is answered within seconds all the same."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kith.errors import StateUnavailable, UnknownGallery
from kith.promptly import Promptly


class Hanging:
    """Answers how often it was asked, once it is let go."""

    def __init__(self) -> None:
        self.asked, self.asking, self.let_go = 0, threading.Event(), threading.Event()

    def __call__(self) -> int:
        self.asked += 1
        asked = self.asked
        self.asking.set()
        assert self.let_go.wait(30)
        return asked


def test_an_answer_and_an_error_are_handed_on_and_each_question_is_asked_anew() -> None:
    answers = iter([1, 2])

    def ask() -> int:
        try:
            return next(answers)
        except StopIteration:
            raise UnknownGallery("there is no third") from None

    promptly = Promptly(ask, "somebody", 30)
    assert [promptly(), promptly()] == [1, 2]
    for _ in range(2):
        with pytest.raises(UnknownGallery, match="no third"):
            promptly()


def test_who_hangs_is_away_after_a_while_and_is_not_asked_again_until_that_is_over() -> None:
    hanging = Hanging()
    promptly = Promptly(hanging, "the oracle", 0.05)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(StateUnavailable, match=r"the oracle has not answered for 0\.05 s"):
            promptly()
        assert time.monotonic() - began < 10
    assert hanging.asked == 1
    hanging.let_go.set()
    deadline = time.monotonic() + 30
    while promptly._asked is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    promptly._within_s = 30
    assert promptly() == 2


def test_callers_that_meet_share_one_question() -> None:
    hanging = Hanging()
    promptly = Promptly(hanging, "the oracle", 0.05)
    with ThreadPoolExecutor(4) as threads:
        # Each gives up before the oracle is let go, so that all of them have asked by then.
        answers = [threads.submit(promptly) for _ in range(4)]
        assert [type(each.exception(30)) for each in answers] == [StateUnavailable] * 4
        assert hanging.asking.wait(30)
        hanging.let_go.set()
    assert hanging.asked == 1


def test_a_thread_that_cannot_be_started_is_an_error_of_that_question_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    promptly = Promptly(lambda: 1, "the oracle", 30)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError, match="new thread"):
            promptly()
    assert promptly() == 1


def test_a_question_whose_answer_is_that_time_ran_out_says_so() -> None:
    def ask() -> None:
        raise TimeoutError("the broker's own")

    with pytest.raises(TimeoutError, match="the broker's own"):
        Promptly(ask, "the oracle", 30)()
