"""Which images make a batch: P subjects with K images each, so that every anchor has positives and negatives."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kith.errors import Rejected
from kith.training.errors import Diverged
from kith.training.neighbourhoods import Members, neighbourhoods

Indices = NDArray[np.int64]

#: Subjects of a neighbourhood, in batches, when nobody says how many there are: few enough to look alike, enough for
#: batches to differ from epoch to epoch.
_BATCHES_PER_CLUSTER = 4


class Sampler(Protocol):
    """Plans the batches of a training run."""

    def batches(self, epoch: int) -> Iterator[Indices]:
        """Rows of the images of each batch of an epoch: P·K int64, subject by subject."""
        ...

    def learn(self, embeddings: NDArray[np.float32]) -> None:
        """Take up what the network makes of all images by now: (n, d) unit rows, in the order of the labels."""
        ...


class PkSampler:
    """Subjects at random, each visited before one comes again.

    They pass in rounds: a new order every round, its last batch filled from its beginning. Rounds run on over the ends
    of epochs. A subject with fewer than K images repeats them within its batch: augmented differently they are
    positives still, bare copies teach nothing.

    labels: the subject of each image. subjects, images: P and K. batches_per_epoch: one round unless given. min_images:
    subjects with fewer are left out. The same `seed` and epoch give the same batches. Raises Rejected for fewer
    subjects than P.
    """

    def __init__(
        self,
        labels: Sequence[int],
        subjects: int = 16,
        images: int = 4,
        seed: int = 0,
        batches_per_epoch: int | None = None,
        min_images: int = 1,
    ) -> None:
        if subjects < 2 or images < 2:
            raise Rejected(f"triplets need batches of at least 2 subjects × 2 images, not {subjects} × {images}")
        codes = np.asarray(labels)
        order = np.argsort(codes, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
        self._rows = [rows.astype(np.int64) for rows in groups if len(rows) >= max(min_images, 1)]
        if len(self._rows) < subjects:
            least = f" with at least {min_images} images" if min_images > 1 else ""
            raise Rejected(
                f"a batch takes {subjects} subjects{least}, there are {len(self._rows)}: lower `subjects`, or add "
                "people"
            )
        self._subjects, self._images, self._seed = subjects, images, seed
        self._count = len(codes)
        self._per_round = -(-len(self._rows) // subjects)
        self._per_epoch = batches_per_epoch or self._per_round

    def batches(self, epoch: int) -> Iterator[Indices]:
        """See Sampler."""
        for number in range(epoch * self._per_epoch, (epoch + 1) * self._per_epoch):
            yield self._batch(self._anybody(number), number)

    def learn(self, embeddings: NDArray[np.float32]) -> None:
        """Nothing: the order depends on nobody's vectors."""

    def _anybody(self, number: int) -> Members:
        """The subjects of batch `number`, counted from the start of the run."""
        turn, place = divmod(number, self._per_round)
        order = np.random.default_rng((self._seed, 0, turn)).permutation(len(self._rows))
        return _part(order, place, self._subjects)

    def _batch(self, chosen: Members, number: int) -> Indices:
        rng = np.random.default_rng((self._seed, 1, number))
        # resize begins again where the images end: none comes a second time before each came once.
        return np.concatenate([np.resize(rng.permutation(self._rows[one]), self._images) for one in chosen])


class NeighbourhoodSampler(PkSampler):
    """Once it has learned, the P subjects of a batch are look-alikes: they come from one k-means cluster.

    In every epoch each cluster passes in an order of its own, and the batches of all are shuffled; where there are more
    than `batches_per_epoch`, chance decides which have to wait. Before `learn`, and for a share of the batches, it is a
    PkSampler.

    clusters: by default as many as hold 4·P subjects each. share: of ordinary batches mixed in, 0..1. See PkSampler for
    everything else.
    """

    def __init__(
        self,
        labels: Sequence[int],
        subjects: int = 16,
        images: int = 4,
        seed: int = 0,
        batches_per_epoch: int | None = None,
        min_images: int = 1,
        clusters: int | None = None,
        share: float = 0.0,
    ) -> None:
        super().__init__(labels, subjects, images, seed, batches_per_epoch, min_images)
        self._wanted = clusters or max(1, len(self._rows) // (_BATCHES_PER_CLUSTER * subjects))
        self._clusters: list[Members] = []
        #: Ordinary batches, 0..1. A curriculum changes it between epochs.
        self.share = share

    def learn(self, embeddings: NDArray[np.float32]) -> None:
        """Cluster the subjects. Raises Diverged where a vector is not finite, ValueError for another number of rows."""
        if len(embeddings) != self._count:
            raise ValueError(f"{len(embeddings)} embeddings for {self._count} images")
        broken = int((~np.isfinite(embeddings).all(axis=1)).sum())
        if broken:
            raise Diverged(f"{broken} of {self._count} embeddings are no numbers any more; lower the learning rate")
        centroids = np.stack([embeddings[rows].mean(axis=0, dtype=np.float64) for rows in self._rows])
        self._clusters = neighbourhoods(centroids, self._wanted, self._subjects, self._seed)

    def batches(self, epoch: int) -> Iterator[Indices]:
        """See Sampler."""
        share = self.share if self._clusters else 1.0
        look_alikes = self._look_alikes(epoch)
        for place in range(self._per_epoch):
            number = epoch * self._per_epoch + place
            # Evenly spread: an ordinary batch whenever their due number passes the next integer.
            ordinary = int((place + 1) * share + 1e-9) > int(place * share + 1e-9)
            yield self._batch(self._anybody(number) if ordinary else next(look_alikes), number)

    def _look_alikes(self, epoch: int) -> Iterator[Members]:
        """The subjects of one batch after the other, without end."""
        rng = np.random.default_rng((self._seed, 2, epoch))
        while True:
            orders = [rng.permutation(cluster) for cluster in self._clusters]
            parts = [(order, place) for order in orders for place in range(-(-len(order) // self._subjects))]
            for turn in rng.permutation(len(parts)):
                order, place = parts[turn]
                yield _part(order, place, self._subjects)


def _part(order: Members, place: int, size: int) -> Members:
    """Part number `place` of `order`, in parts of `size`; the last is filled from the beginning."""
    return np.take(order, np.arange(place * size, (place + 1) * size), mode="wrap")
