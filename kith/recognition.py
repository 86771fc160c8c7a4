"""From a job to its decisions: prepare the images, embed their faces, search or enrol, decide.

One `Recogniser` serves all task threads of a worker; what they share is the batcher, where their faces meet in one
batch.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from kith.batcher import Batcher
from kith.checkpoints import Pack
from kith.decision import Rule, decide_identify, decide_verify
from kith.errors import FaceRejected, ModelAway, ModelMismatch, NoFace, Rejected
from kith.gallery import Enrolment, GalleryStore, template_id
from kith.jobs import LANES, Decision, EmbedJob, Face, Kind, Outcome, decide, now_ms
from kith.journal import Vectors
from kith.preparation import Crop, Pixels, Prepared, Preparer
from kith.replica import Follower
from kith.settings import Settings
from kith.similarity import Hit, Searcher, score_subject
from kith.view import GalleryView


class Recogniser:
    """Decides jobs with one model. Safe to call from many threads."""

    def __init__(
        self,
        preparer: Preparer,
        batcher: Batcher[Pixels, Vectors],
        galleries: GalleryStore,
        follower: Follower,
        threads: Executor,
        pack: Pack,
        settings: Settings,
        searcher: Searcher,
    ) -> None:
        self._preparer = preparer
        self._batcher = batcher
        self._galleries = galleries
        self._follower = follower
        self._threads = threads
        self._pack = pack
        self._model_id = pack.model_id
        self._searcher = searcher
        self._wait_s = settings.worker.sequence_wait_s
        self._rule = settings.decisions

    def decide(self, job: EmbedJob) -> list[Decision]:
        """One decision per image of `job`, in order.

        Raises JobRejected (unknown gallery, another model) for the whole job, ModelAway when the gallery is of another
        one, Retryable when a part is away; whatever is wrong with one image stands in that image's decision.
        """
        started_ms = now_ms()
        if job.expired(started_ms):
            return [self._expired(job, index) for index in range(len(job.images))]
        view = self._gallery_for(job)
        prepared = self._preparer.prepare_all(job, self._threads)
        vectors, embed_ms = self._embed(job, prepared)
        for each in prepared:
            each.timings_ms |= {"queued": float(max(0, started_ms - job.created_ms)), "embed": embed_ms}
        if job.kind is Kind.ENROL:
            return self._enrol(job, prepared, vectors)
        assert view is not None
        return self._match(job, prepared, vectors, view)

    def _gallery_for(self, job: EmbedJob) -> GalleryView | None:
        """The view to search; None for an enrolment, which needs the gallery to exist and no more."""
        if job.model_id is not None and job.model_id != self._model_id:
            raise ModelMismatch(f"the job is for model {job.model_id}, this worker runs {self._model_id}")
        if job.kind is Kind.ENROL:
            try:
                info = self._galleries.create(job.gallery, model_id=self._model_id, dimension=self._pack.dimension)
                self._follower.passing(job.gallery, info.sequence)
            except ModelMismatch as other:
                raise ModelAway(str(other)) from other
            return None
        view = self._follower.view(job.gallery, at_least=job.min_sequence, timeout_s=self._wait_s)
        if view.model_id != self._model_id:
            raise ModelAway(f"gallery {job.gallery} is of model {view.model_id}, not of {self._model_id}")
        return view

    def _embed(self, job: EmbedJob, prepared: Sequence[Prepared]) -> tuple[list[list[Vectors | None]], float]:
        """Vectors per image and crop; None for a crop that is not worth one. A crop that breaks the model rejects its
        image."""
        wanted = [
            (index, face)
            for index, each in enumerate(prepared)
            for face, crop in enumerate(each.crops)
            if crop.refused is None
        ]
        before_s = time.perf_counter()
        urgency = LANES.index(job.lane)
        outcomes = self._batcher.submit([prepared[i].crops[f].pixels for i, f in wanted], urgency=urgency)
        vectors: list[list[Vectors | None]] = [[None] * len(each.crops) for each in prepared]
        for (index, face), outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, Exception):
                prepared[index].rejected = Rejected(f"the model failed on this face alone: {outcome}")
            else:
                vectors[index][face] = outcome
        return vectors, round((time.perf_counter() - before_s) * 1000, 3)

    def _match(
        self,
        job: EmbedJob,
        prepared: Sequence[Prepared],
        vectors: Sequence[Sequence[Vectors | None]],
        view: GalleryView,
    ) -> list[Decision]:
        cutoff = self._cutoff(view.cutoff)
        own = view.settings.margin
        rule = Rule(cutoff, self._rule.margin if own is None else own)
        before_s = time.perf_counter()
        probes = [vector for row in vectors for vector in row if vector is not None]
        hits = iter(self._searcher.search(view, np.stack(probes)) if probes else [])
        found = [[None if vector is None else next(hits) for vector in row] for row in vectors]
        search_ms = round((time.perf_counter() - before_s) * 1000, 3)
        decisions = []
        for index, each in enumerate(prepared):
            each.timings_ms["search"] = search_ms
            if each.rejected is not None:
                decisions.append(self._refused(job, index, each, cutoff=cutoff, gallery_version=view.sequence))
                continue
            faces = []
            for crop, near, vector in zip(each.crops, found[index], vectors[index], strict=True):
                face = _described(crop)
                if near is not None and vector is not None:
                    face = (
                        self._verified(job, index, face, vector, view, rule)
                        if job.kind is Kind.VERIFY
                        else _identified(face, near, crop, rule)
                    )
                faces.append(face)
            decision = self._decided(job, index, each, faces, cutoff=cutoff, gallery_version=view.sequence)
            if decision.seen is not None and (first := vectors[index][0]) is not None:
                decision = replace(decision, vector=first.astype("<f4").tobytes())
            decisions.append(decision)
        return decisions

    def _verified(self, job: EmbedJob, index: int, face: Face, vector: Vectors, view: GalleryView, rule: Rule) -> Face:
        claimed = job.images[index].subject
        assert claimed is not None
        try:
            score = score_subject(view, vector, claimed).score
        except Rejected as unknown:
            return replace(face, outcome=Outcome.UNKNOWN, reason=unknown.reason)
        outcome = decide_verify(score, rule)
        named = claimed if outcome is Outcome.MATCH else None
        return replace(face, outcome=outcome, score=score, nearest=claimed, subject=named)

    def _enrol(
        self, job: EmbedJob, prepared: Sequence[Prepared], vectors: Sequence[Sequence[Vectors | None]]
    ) -> list[Decision]:
        accepted: dict[int, Enrolment] = {}
        for index, (each, row) in enumerate(zip(prepared, vectors, strict=True)):
            if each.rejected is None and row and row[0] is not None:
                image = job.images[index]
                assert image.subject is not None
                accepted[index] = Enrolment(
                    subject=image.subject,
                    template_id=template_id(job.gallery, image.subject, image.key),
                    vector=row[0],
                    image=image.key,
                    quality=each.crops[0].quality.value,
                    model_id=self._model_id,
                )
        try:
            numbers = self._galleries.enrol(job.gallery, list(accepted.values()))
        except ModelMismatch as other:
            # Switched while the faces were embedded.
            raise ModelAway(str(other)) from other
        sequences = dict(zip(accepted, numbers, strict=True))
        decisions = []
        for index, each in enumerate(prepared):
            if index not in accepted:
                decisions.append(
                    self._refused(job, index, each)
                    if each.rejected is not None
                    else self._decided(job, index, each, [_described(crop) for crop in each.crops])
                )
                continue
            face = replace(_described(each.crops[0]), outcome=Outcome.ENROLLED, subject=accepted[index].subject)
            decisions.append(
                self._decided(
                    job, index, each, [face], gallery_version=sequences[index], template_id=accepted[index].template_id
                )
            )
        return decisions

    def _cutoff(self, of_gallery: float | None) -> float:
        """The gallery's own, else the setting, else the model's."""
        if of_gallery is not None:
            return of_gallery
        return self._rule.cutoff if self._rule.cutoff is not None else self._pack.default_cutoff

    def _decided(
        self, job: EmbedJob, index: int, prepared: Prepared, faces: Sequence[Face], **parts: object
    ) -> Decision:
        first, *others = faces
        return decide(
            job,
            index,
            first.outcome,
            face=first,
            others=tuple(others),
            faces_found=prepared.faces_found,
            model_id=self._model_id,
            reason=first.reason,
            timings_ms=prepared.timings_ms,
            **parts,
        )

    def _refused(self, job: EmbedJob, index: int, prepared: Prepared, **parts: object) -> Decision:
        refusal = prepared.rejected
        assert refusal is not None
        outcome = Outcome.REJECTED
        if isinstance(refusal, NoFace):
            outcome = Outcome.NO_FACE
        elif isinstance(refusal, FaceRejected):
            outcome = Outcome.LOW_QUALITY
        return decide(
            job,
            index,
            outcome,
            faces_found=prepared.faces_found,
            model_id=self._model_id,
            reason=refusal.reason,
            timings_ms=prepared.timings_ms,
            **parts,
        )

    def _expired(self, job: EmbedJob, index: int) -> Decision:
        late_ms = now_ms() - (job.expires_ms or 0)
        return decide(
            job, index, Outcome.EXPIRED, model_id=self._model_id, reason=f"expired: {late_ms} ms past its deadline"
        )


def _described(crop: Crop) -> Face:
    """What is known of a face before anybody was asked who it is."""
    face = Face(Outcome.LOW_QUALITY, quality=crop.quality, reason=crop.refused.reason if crop.refused else None)
    if crop.detection is None:
        return face
    x, y, width, height = (round(float(value), 1) for value in crop.detection.box)
    points = tuple((round(float(px), 1), round(float(py), 1)) for px, py in crop.detection.landmarks)
    score = round(float(crop.detection.score), 4)
    return replace(face, box=(x, y, width, height), landmarks=points, detector_score=score)


def _identified(face: Face, hits: Sequence[Hit], crop: Crop, rule: Rule) -> Face:
    verdict = decide_identify(hits, crop.quality.value, rule)
    nearest, runner_up = verdict.nearest, verdict.runner_up
    named = nearest if verdict.outcome is Outcome.MATCH else None
    return replace(
        face,
        outcome=verdict.outcome,
        subject=named.subject if named else None,
        subject_id=named.subject_id if named else None,
        score=nearest.score if nearest else None,
        nearest=nearest.subject if nearest else None,
        nearest_id=nearest.subject_id if nearest else None,
        runner_up=runner_up.subject if runner_up else None,
        runner_up_id=runner_up.subject_id if runner_up else None,
        runner_up_score=runner_up.score if runner_up else None,
    )
