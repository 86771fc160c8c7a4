"""Rehearsals: what they need, whom they can show, and that the truth of a scene is what is drawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from kith.detector import Detection
from kith.errors import Misconfigured, NotAnImage
from producers.rehearsal import casting, rtsp_server
from producers.rehearsal.album import from_folder
from producers.rehearsal.casting import Cast, Player
from producers.rehearsal.performance import first_act, second_act
from producers.rehearsal.scene import Pixels, Portrait, Scene, Walk


class OneFace:
    """Finds one face in the middle of pictures that are large enough, two in those that are wide."""

    def detect(self, image: Pixels) -> list[Detection]:
        height, width = image.shape[:2]
        face = Detection((width / 4, height / 4, width / 2, height / 2), np.zeros((5, 2), np.float32), 0.99)
        return [face, face] if width > height else [face]


def photo(file: Path, width: int = 120, height: int = 120, grey: int = 128) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((height, width, 3), grey, np.uint8))
    return file


def test_without_the_rtsp_server_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_server, "_PYTHON", "/nowhere/python3")
    with pytest.raises(Misconfigured, match=r"not found; on Debian or Ubuntu: sudo apt-get install .*python3-gst-1\.0"):
        rtsp_server.require_rtsp_server()


def test_only_pictures_with_one_whole_face_of_some_size_are_shown(tmp_path: Path) -> None:
    for name in ("Ada", "Bob"):
        for number in range(3):
            photo(tmp_path / name / f"{number}.png")
    photo(tmp_path / "Bob" / "wide.png", 200, 120)
    photo(tmp_path / "Cy" / "small.png", 60, 60)
    photo(tmp_path / "Cy" / "one.png")
    photo(tmp_path / "stray.png")
    (tmp_path / "Bob" / "broken.png").write_bytes(b"nothing")
    found = from_folder(tmp_path, OneFace(), 5)
    assert {name: len(files) for name, files in found.items()} == {"Ada": 3, "Bob": 3}
    assert found["Ada"][0].box == (30, 30, 60, 60)
    assert list(from_folder(tmp_path, OneFace(), 1)) == ["Ada"]


def test_too_few_people_are_refused_with_the_number_that_is_needed(tmp_path: Path) -> None:
    photo(tmp_path / "Ada" / "1.png")
    with pytest.raises(Misconfigured, match=r"has 0 people to show: the demo of cameras needs 4.* 4 pictures each"):
        casting.own(tmp_path, OneFace())


def test_of_the_stranger_nothing_is_enrolled_and_they_look_otherwise_when_they_come_again(tmp_path: Path) -> None:
    for name in ("Ada", "Bob", "Cy", "Zoe"):
        for number in range(4):
            photo(tmp_path / name / f"{number}.png")
    cast = casting.own(tmp_path, OneFace())
    assert [player.name for player in cast.known] == ["Ada", "Bob", "Cy"]
    assert cast.stranger.enrol == ()
    seen = [shown(scenes, "Zoe") for scenes in (first_act(cast), second_act(cast))]
    assert seen[0]
    assert seen[1]
    assert not seen[0] & seen[1]
    enrolled = {each.file for player in cast.known for each in player.enrol}
    assert not enrolled & {file for name in ("Ada", "Bob", "Cy") for file in shown(first_act(cast), name)}


def shown(scenes: dict[str, Scene], who: str) -> set[Path]:
    walks = [walk for scene in scenes.values() for walk in scene.walks if walk.who == who]
    return {portrait.file for walk in walks for portrait in walk.portraits}


def test_each_act_ends_with_nobody_there() -> None:
    """So that a camera can be taken away before its clip begins anew."""
    player = Player(
        "Ada", (), (Portrait("Ada", Path("1.png"), (0, 0, 9, 9)), Portrait("Ada", Path("2.png"), (0, 0, 9, 9)))
    )
    cast = Cast("here", (player,) * 3, player)
    for scene in (*first_act(cast).values(), *second_act(cast).values()):
        assert scene.truth(scene.frames - round(1.5 * scene.fps)) == []


def test_what_is_drawn_is_where_the_truth_says(tmp_path: Path) -> None:
    face = Portrait("Ada", photo(tmp_path / "white.png", grey=255), (40, 40, 40, 40))
    scene = Scene((Walk([face], ((0, 100, 200), (2, 500, 200)), 60),), 2, noise=0)
    [there] = scene.truth(15)
    x, y, width, height = (round(side) for side in there.box)
    assert (x + width // 2, y + height // 2) == (300, 200)
    assert scene.draw(15)[y : y + height, x : x + width].mean() > 240
    assert scene.draw(15)[y : y + height, x - 150 : x - 90].mean() < 200
    assert there.hidden == 0


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    with pytest.raises(NotAnImage, match=r"broken\.png cannot be read"):
        _ = Portrait("Ada", broken, (0, 0, 1, 1)).pixels
