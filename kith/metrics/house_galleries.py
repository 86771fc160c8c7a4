"""The galleries as Prometheus hears of them: their sizes, their journals and cutoffs. Nobody in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from kith.metrics.labels import bounded


@dataclass(frozen=True, slots=True)
class GalleryGauges:
    """sequence: of its last change. journal: entries of its log that are kept. cutoff: the cosine a match needs, None
    where it is not known, or not one."""

    subjects: int
    templates: int
    sequence: int
    journal: int
    cutoff: float | None


def families_of(galleries: Mapping[str, GalleryGauges]) -> Iterator[Metric]:
    """The largest by name, the rest together; empty without any."""
    subjects = _of("kith_gallery_subjects", "People enrolled.")
    templates = _of("kith_gallery_templates", "Templates of them.")
    sequence = _of("kith_gallery_sequence", "Number of the gallery's last change.")
    journal = _of("kith_gallery_journal_entries", "Changes kept in the gallery's log.")
    cutoff = _of("kith_gallery_cutoff", "Cosine that a match needs: the gallery's own, else that of its model.")
    largest = sorted(galleries.items(), key=lambda each: (-each[1].templates, each[0]))
    for name, each in bounded(largest, _together):
        subjects.add_metric([name], each.subjects)
        templates.add_metric([name], each.templates)
        sequence.add_metric([name], each.sequence)
        journal.add_metric([name], each.journal)
        if each.cutoff is not None:
            cutoff.add_metric([name], each.cutoff)
    yield from (subjects, templates, sequence, journal, cutoff)


def _together(rest: Sequence[GalleryGauges]) -> GalleryGauges:
    # Cutoffs of several galleries make none.
    return GalleryGauges(
        sum(each.subjects for each in rest),
        sum(each.templates for each in rest),
        sum(each.sequence for each in rest),
        sum(each.journal for each in rest),
        None,
    )


def _of(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["gallery"])
