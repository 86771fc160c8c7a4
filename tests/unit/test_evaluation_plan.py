"""What an evaluation looks at: a folder, lists of its pictures, and what does not fit together."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from kith.errors import Rejected
from kith.evaluation.plan import Given, plan
from tests.drawn_people import draw_people


def csv(path: Path, head: str, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


class TestPlan:
    def test_a_folder_alone_is_split_and_drawn_from(self, tmp_path: Path) -> None:
        draw_people(tmp_path / "faces", 3, 2)
        planned = plan(Given(tmp_path / "faces"))
        assert (planned.pairs, planned.probes, planned.identify) == (None, None, True)
        assert len(planned.images) == 6

    def test_lists_beside_the_folder_are_used_when_they_name_its_pictures(self, tmp_path: Path) -> None:
        draw_people(tmp_path / "val", 4, 3)
        draw_people(tmp_path / "train", 2, 1)
        pairs = csv(
            tmp_path / "pairs.csv",
            "identity1,image1,identity2,image2,same,fold",
            ["person001,0,person001,1.png,1,a", "person001,0,person002,0,0,b", "person001,0,person002,9,0,b"],
        )
        csv(tmp_path / "gallery.csv", "identity,image", ["person001,0", "person001,1"])
        csv(tmp_path / "probes_known.csv", "identity,image", ["person001,2"])
        csv(tmp_path / "probes_unknown.csv", "identity,image", ["person003,0"])
        planned = plan(Given(tmp_path / "val"))
        assert planned.pairs is not None
        assert planned.probes is not None
        assert (planned.pairs.file.name, planned.pairs.same, planned.pairs.folds) == (
            "pairs.csv",
            (True, False),
            ("a", "b"),
        )
        assert sorted(image.label for image in planned.images) == [
            *("person001/0.png", "person001/1.png", "person001/2.png", "person002/0.png", "person003/0.png")
        ]
        assert planned.skipped == {"person002/9": "named in pairs.csv, not in the folder"}
        assert plan(Given(tmp_path / "val", beside=False)).probes is None
        alone = plan(Given(pairs=pairs))
        assert (alone.folder, alone.identify, len(alone.images)) == (tmp_path / "val", False, 3)

    def test_lists_of_a_neighbour_are_left_alone(self, tmp_path: Path) -> None:
        draw_people(tmp_path / "train", 3, 2)
        for name in ("gallery.csv", "probes_known.csv", "probes_unknown.csv"):
            csv(tmp_path / name, "identity,image", ["somebody_else,0"])
        assert plan(Given(tmp_path / "train")).probes is None

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            (("person001,0", "person001,1", "person001,2"), "is enrolled in .* and a stranger in"),
            (("person001,0", "person002,1", "person003,2"), "person002 is asked about in .* and not enrolled"),
            (("person001,0", "person001,0", "person002,0"), "it would find itself"),
            (("person001,0", "person001,1", "nobody,0"), "names no picture of the folder"),
        ],
    )
    def test_lists_that_contradict_one_another_are_refused(
        self, tmp_path: Path, rows: tuple[str, str, str], said: str
    ) -> None:
        draw_people(tmp_path / "faces", 4, 3)
        names = ("a.csv", "b.csv", "c.csv")
        files = [csv(tmp_path / name, "identity,image", [row]) for name, row in zip(names, rows, strict=True)]
        with pytest.raises(Rejected, match=said):
            plan(Given(tmp_path / "faces", None, *files))

    @pytest.mark.parametrize(
        ("head", "row", "said"),
        [
            ("identity1,image1,identity2,image2", "a,0,a,1", "no column same"),
            ("identity1,image1,identity2,image2,same", "person001,0,person001,1,yes", "line 2: same is 'yes'"),
            ("identity1,image1,identity2,image2,same", "person001,0,person002,1,1", "line 2: same is 1 for"),
            ("identity1,image1,identity2,image2,same", "person001,0", "line 2: fewer columns"),
            ("identity1,image1,identity2,image2,same", "a,0,a,1,1", "names no two pictures"),
        ],
    )
    def test_a_table_of_another_kind_is_refused_with_its_line(
        self, tmp_path: Path, head: str, row: str, said: str
    ) -> None:
        draw_people(tmp_path / "faces", 3, 2)
        with pytest.raises(Rejected, match=said):
            plan(Given(tmp_path / "faces", pairs=csv(tmp_path / "p.csv", head, [row])))

    def test_too_little_said_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Rejected, match="--data DIR"):
            plan(Given())
        file = csv(tmp_path / "g.csv", "identity,image", ["a,0"])
        with pytest.raises(Rejected, match="go together"):
            plan(Given(tmp_path, gallery=file))
        with pytest.raises(Rejected, match="nowhere near it; name their folder with --data"):
            plan(Given(pairs=csv(tmp_path / "p.csv", "identity1,image1,identity2,image2,same", ["a,0,a,1,1"])))
