"""A job is done by the model of its gallery, on whichever side of a change of model it falls."""

import logging
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.migration_memory import MemoryMigrationStore
from kith.enrolment import Enrolment
from kith.errors import ModelAway, ModelMismatch
from kith.jobs import Decision, EmbedJob, ImageRef, Kind, Lane, Outcome, decide
from kith.models_held import Held, ModelsHeld
from kith.replica import Follower


@dataclass
class Scripted:
    """Stands for all that one model does; `refuse` so many jobs first, as if the gallery had just been switched."""

    model_id: str
    refuse: int = 0
    embedded: list[str] = field(default_factory=list)

    def decide(self, job: EmbedJob) -> list[Decision]:
        if self.refuse:
            self.refuse -= 1
            raise ModelAway
        return [decide(job, 0, Outcome.UNKNOWN, model_id=self.model_id)]

    def embed(self, job: EmbedJob) -> None:
        self.embedded.append(job.job_id)


class House:
    def __init__(self, *held: str) -> None:
        self.galleries = MemoryGalleryStore()
        self.models = {model_id: Scripted(model_id) for model_id in held}
        follower = Follower(self.galleries, block_ms=10)
        made = {each: Held(cast("Any", part), cast("Any", part)) for each, part in self.models.items()}
        self.held = ModelsHeld(made, held[0], self.galleries, follower)
        self.follower = follower

    def ask(self, kind: Kind, model_id: str | None = None) -> list[str | None]:
        image = ImageRef("k", subject="Ada" if kind is Kind.ENROL else None, template="t")
        job = EmbedJob("job", kind, "door", Lane.BULK, (image,), 1, model_id=model_id)
        return [each.model_id for each in self.held.decide(job)]

    def switch(self) -> None:
        migrations = MemoryMigrationStore(self.galleries)
        settings = self.galleries.info("door").settings
        migrations.begin("door", model_id="n", dimension=2, pack="new")
        migrations.put("door", "n", {"t": np.array([0, 1], np.float32)}, {})
        migrations.switch("door", "n", before=settings, after=settings)
        self.follower.view("door", at_least=self.galleries.info("door").sequence)


@pytest.fixture
def house() -> Any:
    made = House("m", "n")
    made.galleries.create("door", model_id="m", dimension=3)
    made.galleries.enrol("door", [Enrolment("Ada", "t", np.array([1, 0, 0], np.float32), "k", 1.0, "m")])
    yield made
    made.follower.stop()


def test_each_job_is_done_by_the_model_of_its_gallery(house: House) -> None:
    assert house.ask(Kind.IDENTIFY) == house.ask(Kind.ENROL) == ["m"]
    house.switch()
    assert house.ask(Kind.IDENTIFY) == house.ask(Kind.ENROL) == ["n"]


def test_a_job_that_met_the_change_in_the_middle_is_done_again_at_once(house: House) -> None:
    house.models["m"].refuse = 1
    assert house.ask(Kind.IDENTIFY) == ["m"]
    house.models["m"].refuse = 9
    with pytest.raises(ModelAway):
        house.ask(Kind.IDENTIFY)


def test_a_job_for_another_model_than_its_gallerys_is_rejected(house: House) -> None:
    assert house.ask(Kind.IDENTIFY, "m") == ["m"]
    for kind in (Kind.IDENTIFY, Kind.ENROL):
        with pytest.raises(ModelMismatch, match="gallery door is of m"):
            house.ask(kind, "n")


def test_a_gallery_of_a_model_that_is_not_held_puts_its_jobs_off_and_says_so(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    del house.held._models["n"]  # type: ignore[attr-defined]
    house.switch()
    for kind, model_id in ((Kind.IDENTIFY, None), (Kind.ENROL, None), (Kind.REEMBED, "n")):
        with pytest.raises(ModelAway, match="needs model n, this worker holds m"):
            house.ask(kind, model_id)
    assert "put off" in caplog.text


def test_a_picture_is_embedded_anew_by_the_model_named_whatever_the_gallery_is_of(house: House) -> None:
    assert house.ask(Kind.REEMBED, "n") == []
    assert house.models["n"].embedded == ["job"]


def test_the_first_enrolment_makes_the_gallery_of_the_main_model() -> None:
    made = House("m", "n")
    assert made.ask(Kind.ENROL) == ["m"]
    assert made.ask(Kind.ENROL, "n") == ["n"]
