"""From a job of enrolment pictures to the vectors another model has of them, kept beside the gallery's own.

Faces are found and aligned as that model's pack says. A face that was good enough to be enrolled is not refused for its
quality now; a picture that is gone, that shows no face, or on which none stands out, is noted with the reason.
"""

from concurrent.futures import Executor

from kith.batcher import Batcher
from kith.jobs import LANES, EmbedJob
from kith.journal import Vectors
from kith.migration import MigrationStore
from kith.preparation import Pixels, Preparer


class Reembedder:
    """Does jobs of kind REEMBED with one model. Safe to call from many threads."""

    def __init__(
        self,
        preparer: Preparer,
        batcher: Batcher[Pixels, Vectors],
        migrations: MigrationStore,
        threads: Executor,
        model_id: str,
    ) -> None:
        self._preparer = preparer
        self._batcher = batcher
        self._migrations = migrations
        self._threads = threads
        self._model_id = model_id

    def embed(self, job: EmbedJob) -> None:
        """Put the vectors of all pictures of `job`; done twice it changes nothing. Raises UnknownGallery, Retryable."""
        prepared = self._preparer.prepare_all(job, self._threads)
        templates = [str(image.template) for image in job.images]
        unable = {
            template: each.rejected.reason
            for template, each in zip(templates, prepared, strict=True)
            if each.rejected is not None
        }
        usable = [(t, each.crops[0].pixels) for t, each in zip(templates, prepared, strict=True) if t not in unable]
        outcomes = self._batcher.submit([pixels for _, pixels in usable], urgency=LANES.index(job.lane))
        vectors: dict[str, Vectors] = {}
        for (template, _), outcome in zip(usable, outcomes, strict=True):
            if isinstance(outcome, Exception):
                unable[template] = f"the model failed on this face alone: {outcome}"
            else:
                vectors[template] = outcome
        self._migrations.put(job.gallery, self._model_id, vectors, unable)
