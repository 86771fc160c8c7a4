"""How things stand, also while a part is away."""

from kith.errors import BrokerUnavailable
from kith.intake import JobQueue
from kith.jobs import LANES, PUBLISH_QUEUE
from kith.status import _depths


class Queue(JobQueue):
    """Answers so many times, then no more."""

    def __init__(self, answers: int) -> None:
        self.answers, self.asked = answers, 0

    def depth(self, queue: str) -> int:
        self.asked += 1
        if self.asked > self.answers:
            raise BrokerUnavailable("away")
        return 7


def test_each_queue_is_as_deep_as_the_broker_says() -> None:
    assert _depths(Queue(9)) == dict.fromkeys((*LANES, PUBLISH_QUEUE), 7)


def test_a_broker_that_is_away_is_asked_once() -> None:
    queue = Queue(1)
    assert list(_depths(queue).values()) == [7, *[None] * len(LANES)]
    assert queue.asked == 2
