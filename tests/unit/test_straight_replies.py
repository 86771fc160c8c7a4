"""Replies of a server are taken apart in whatever pieces they come, and nothing is taken for a value that is none."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kith.backends.straight_values import Replies, Unexpected


class Pieces:
    """A socket on which `told` arrives in pieces of `sizes` bytes, and then it is closed."""

    def __init__(self, told: bytes, sizes: Iterator[int]) -> None:
        self._told, self._sizes = told, sizes

    def recv_into(self, room: memoryview) -> int:
        count = min(next(self._sizes), len(room), len(self._told))
        room[:count], self._told = self._told[:count], self._told[count:]
        return count


def replied(value: bytes | None, *, resp3: bool) -> bytes:
    if value is None:
        return b"_\r\n" if resp3 else b"$-1\r\n"
    return b"$%d\r\n%b\r\n" % (len(value), value)


#: With ends of lines in them, and longer and shorter than what is read ahead.
VALUES = st.none() | st.binary(max_size=200) | st.lists(st.sampled_from([b"\r", b"\n", b"$3", b"a"])).map(b"".join)


@given(
    values=st.lists(VALUES, max_size=8),
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=20),
    resp3=st.booleans(),
)
@example(values=[b"", b"\r\n", b"x" * 64, b"y" * 5000], sizes=[1], resp3=False)
def test_values_are_found_however_their_bytes_arrive(values: list[bytes | None], sizes: list[int], resp3: bool) -> None:
    told = b"".join(replied(value, resp3=resp3) for value in values)
    replies = Replies(Pieces(told, iter(sizes * (len(told) + 1))))
    found = [replies.value() for _ in values]
    assert [each.tobytes() for each in found] == [value or b"" for value in values]
    assert all(each.flags.writeable for each in found)
    # Nothing of them is left over for whoever asks next.
    with pytest.raises(Unexpected):
        replies.value()


@pytest.mark.parametrize(
    "told",
    [
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        b"-LOADING Redis is loading the dataset in memory and will not answer before all of it is there\r\n",
        b"+OK\r\n",
        b":3\r\n",
        b"*1\r\n$1\r\na\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
        b"$?\r\n;4\r\nabcd\r\n;0\r\n",
        b"$-2\r\n",
        b"$\r\n",
        b"$+3\r\nabc\r\n",
        b"$3\r\nabcd\r\n",
        b"$3\r\nab",
        b"$3",
        b"",
    ],
)
def test_what_is_no_whole_value_is_unexpected(told: bytes) -> None:
    with pytest.raises(Unexpected):
        Replies(Pieces(told, iter([100] * 100))).value()


def test_a_connection_of_another_kind_which_has_no_socket_is_not_read_from() -> None:
    with pytest.raises(Unexpected):
        Replies(None)
