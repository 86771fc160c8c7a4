"""A table of galleries, for kith gallery list and kith status."""

from collections.abc import Iterable

from kith.cli.terminal import answer_table, plain_table
from kith.cli.wording import time_of
from kith.gallery import GalleryInfo


def show_galleries(found: Iterable[GalleryInfo]) -> None:
    """One line each."""
    table = plain_table(
        "gallery", "subjects", "templates", "change", "cutoff", "model", "since", right=("subjects", "templates")
    )
    for each in found:
        cutoff = "the model's" if each.cutoff is None else f"{each.cutoff:.3f}"
        sizes = (str(each.subjects), str(each.templates), str(each.sequence))
        table.add_row(each.name, *sizes, cutoff, each.model_id, time_of(each.created_ms))
    answer_table(table)
