"""Parts of a large table that is changed while others read it: `Shared`, of which only what changes is copied."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Chunk = TypeVar("Chunk")


class Shared(Generic[Chunk]):
    """Chunks that published views also hold: `own` gives one that they do not, copied once per batch of changes."""

    def __init__(self, copy: Callable[[Chunk], Chunk], chunks: Iterable[Chunk] = ()) -> None:
        self._copy = copy
        self._chunks = list(chunks)
        self._owned: set[int] = set(range(len(self._chunks)))

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, index: int) -> Chunk:
        return self._chunks[index]

    def add(self, chunk: Chunk) -> None:
        self._owned.add(len(self._chunks))
        self._chunks.append(chunk)

    def own(self, index: int) -> Chunk:
        if index not in self._owned:
            self._chunks[index] = self._copy(self._chunks[index])
            self._owned.add(index)
        return self._chunks[index]

    def publish(self) -> tuple[Chunk, ...]:
        self._owned.clear()
        return tuple(self._chunks)
