"""A whole evaluation on drawn people: every figure, every refusal, and what it says of its data."""

from pathlib import Path

import pytest

from kith.checkpoints import simulated_pack
from kith.crops import CropReader
from kith.errors import Misconfigured, Rejected
from kith.evaluation.bootstrap import Estimate, Refused
from kith.evaluation.identification import Identification
from kith.evaluation.record import plain, tables
from kith.evaluation.report import write_report
from kith.evaluation.run import Evaluation
from kith.evaluation.serving import open_serving
from tests.drawn_people import draw_people, evaluated


class TestFindings:
    def test_every_figure_lies_in_its_interval_and_small_rates_are_refused(self, found: Evaluation) -> None:
        rows = [row for table in tables(found) for row in table.rows]
        shown = [row.figure for row in rows if isinstance(row.figure, Estimate)]
        assert len(shown) >= 8
        assert all(0 <= figure.low <= figure.value <= figure.high <= 1 for figure in shown)
        refused = {row.what: row.figure.reason for row in rows if isinstance(row.figure, Refused)}
        assert "non-mated searches cannot show a rate of 0.1 %; it takes 3,000" in refused["TPIR at FPIR 0.1 %"]

    def test_what_cannot_be_read_is_listed_and_harms_nobody(self, found: Evaluation) -> None:
        assert list(found.skipped) == ["person001/broken.jpg"]
        assert len(found.embedded.images) == 641

    def test_one_picture_under_two_names_is_reported(self, found: Evaluation) -> None:
        assert found.embedded.duplicates == (("person002/0.png", "person003/copy.png"),)

    def test_confusions_are_of_the_kind_they_are_called(self, found: Evaluation) -> None:
        assert found.identification is not None
        assert found.identification.cutoff is not None or isinstance(found.identification.found, Identification)
        kinds = {confusion.kind for confusion in found.identification.confusions}
        assert kinds == {"wrong_accept", "miss"}
        for confusion in found.identification.confusions:
            assert (confusion.probe.subject == confusion.template.subject) == (confusion.kind == "miss")

    def test_the_same_seed_finds_the_same_and_another_one_another(self, tmp_path: Path) -> None:
        draw_people(tmp_path / "faces", 40, 5)
        first, again, other = (plain(evaluated(tmp_path, seed=seed)) for seed in (0, 0, 1))
        for each in (first, again, other):
            del each["seconds"]
        assert first == again
        assert first["identification"] != other["identification"]

    @pytest.mark.parametrize(
        ("people", "pictures", "said"),
        [(1, 4, "nobody to be told apart from"), (4, 1, "every person has a single picture")],
    )
    def test_too_few_people_or_pictures_are_a_stated_refusal(
        self, tmp_path: Path, people: int, pictures: int, said: str
    ) -> None:
        draw_people(tmp_path / "faces", people, pictures)
        few = evaluated(tmp_path)
        assert few.identification is not None
        assert isinstance(few.identification.found, Refused)
        assert said in few.identification.found.reason
        assert all(isinstance(compared.found, Refused) for compared in few.verification)
        assert write_report(few, CropReader(None), tmp_path / "out")[0].is_file()

    def test_a_folder_of_which_nothing_can_be_used_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "faces" / "a").mkdir(parents=True)
        (tmp_path / "faces" / "a" / "1.jpg").write_bytes(b"nothing")
        with pytest.raises(Rejected, match=r"none of 1 pictures can be used; the first, a/1\.jpg: not_an_image"):
            evaluated(tmp_path)

    def test_photos_need_a_detector(self, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="--aligned"):
            open_serving(simulated_pack(tmp_path / "pack"), aligned=False)
