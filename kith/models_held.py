"""The models a worker holds, and which of them does a job: always that of the gallery the job is about.

A gallery changes its model at one sequence number (kith.migration). The view a job is decided on is of one side of it,
and so are its vectors: the recogniser of another model refuses the view, and the job is done again by the right one.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from kith.errors import ModelAway, ModelMismatch, UnknownGallery
from kith.gallery import GalleryStore
from kith.jobs import Decision, EmbedJob, Kind, now_ms
from kith.recognition import Recogniser
from kith.reembedding import Reembedder
from kith.replica import Follower

_log = logging.getLogger(__name__)

#: A gallery that changes its model more often than this while a job is at work is not worth racing.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Held:
    """What one model does."""

    recogniser: Recogniser
    reembedder: Reembedder


class ModelsHeld:
    """models: by model_id; main: of galleries that are made by their first enrolment."""

    def __init__(self, models: Mapping[str, Held], main: str, galleries: GalleryStore, follower: Follower) -> None:
        self._models = models
        self._main = main
        self._galleries = galleries
        self._follower = follower

    def decide(self, job: EmbedJob) -> list[Decision]:
        """As Recogniser.decide, by the model of the job's gallery; none for a job of kind REEMBED.

        Raises ModelAway when this worker does not hold that model, ModelMismatch when the job asks for another.
        """
        if job.kind is Kind.REEMBED:
            self._follower.passing(job.gallery, self._galleries.info(job.gallery).sequence)
            self._held(str(job.model_id), job).reembedder.embed(job)
            return []
        if job.expired(now_ms()):
            # Whatever its gallery is, nobody is named.
            return self._models[self._main].recogniser.decide(job)
        for attempt in range(_TRIES):
            model_id = self._model_of(job)
            if job.model_id not in (None, model_id):
                raise ModelMismatch(f"the job is for model {job.model_id}, gallery {job.gallery} is of {model_id}")
            held = self._held(model_id, job)
            try:
                return held.recogniser.decide(job)
            except ModelAway:
                if attempt + 1 == _TRIES:
                    raise
        raise AssertionError("unreachable")

    def _model_of(self, job: EmbedJob) -> str:
        if job.kind is Kind.ENROL:
            try:
                # Asked from the store: the replica may be of a moment before the change.
                return self._galleries.info(job.gallery).model_id
            except UnknownGallery:
                return job.model_id or self._main
        return self._follower.view(job.gallery).model_id

    def _held(self, model_id: str, job: EmbedJob) -> Held:
        held = self._models.get(model_id)
        if held is None:
            away = ModelAway(
                f"gallery {job.gallery} needs model {model_id}, this worker holds {', '.join(self._models)} "
                "(model.pack, model.also)"
            )
            _log.warning("job %s is put off: %s", job.job_id, away)
            raise away
        return held
