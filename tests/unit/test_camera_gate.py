"""The motion gate: closed while nothing moves, however noisy; open for the smallest face that walks in."""

import numpy as np
import pytest
from numpy.typing import NDArray

from producers.camera.frame import PlainPicture
from producers.camera.gate import WIDTH, MotionGate

ROOM = np.random.default_rng(0).uniform(60, 180, (48, 64, 3)).astype(np.float32).repeat(10, 0).repeat(10, 1)
#: Drawn once: to draw it takes longer than all that a gate does. Each frame begins at another place of it.
NOISE = np.random.default_rng(1).standard_normal(2 * ROOM.size, np.float32)


def frame(
    number: int, *, noise: float = 3.0, light: float = 0.0, face: tuple[int, int, int] | None = None
) -> NDArray[np.uint8]:
    pixels = ROOM.copy() + light
    if face is not None:
        x, y, side = face
        pixels[y : y + side, x : x + side] += 45
    start = int(np.random.default_rng(number).integers(ROOM.size))
    pixels += noise * NOISE[start : start + ROOM.size].reshape(ROOM.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def opened(frames: list[NDArray[np.uint8]], gate: MotionGate) -> list[bool]:
    return [gate.opens(PlainPicture(pixels).grey(WIDTH), number / 5) for number, pixels in enumerate(frames)]


def test_a_quiet_scene_is_looked_at_now_and_then() -> None:
    looks = opened([frame(number) for number in range(60)], MotionGate(hold_s=1, look_s=2))
    # The first second is news; then one look each two seconds.
    assert sum(looks[6:]) == pytest.approx(54 / 10, abs=1)


@pytest.mark.parametrize("side", [24, 32, 60])
def test_a_face_that_comes_in_opens_it_at_once_and_it_stays_open_a_while(side: int) -> None:
    frames = [frame(number) for number in range(13)] + [
        frame(number, face=(100 + 8 * number, 200, side)) for number in range(13, 18)
    ]
    looks = opened(frames + [frame(number) for number in range(18, 22)], MotionGate(hold_s=1, look_s=100))
    assert looks[6:13] == [False] * 7
    assert looks[13:22] == [True] * 9


def test_a_lamp_that_is_turned_up_slowly_and_the_cameras_own_exposure_are_no_movement() -> None:
    looks = opened([frame(number, light=number) for number in range(40)], MotionGate(hold_s=0.1, look_s=100))
    assert not any(looks[2:])
    looks = opened(
        [frame(number, light=30 * (number > 20)) for number in range(40)], MotionGate(hold_s=0.1, look_s=100)
    )
    assert not any(looks[2:])


def test_what_was_put_down_belongs_to_the_room_after_a_while() -> None:
    frames = [frame(number, face=(300, 200, 40) if number > 5 else None) for number in range(120)]
    looks = opened(frames, MotionGate(hold_s=0.1, look_s=100))
    assert looks[6]
    assert not any(looks[60:])


def test_a_frame_of_another_size_is_news() -> None:
    gate = MotionGate(hold_s=0.1, look_s=100)
    opened([frame(number) for number in range(5)], gate)
    assert gate.opens(np.zeros((45, WIDTH), np.uint8), 1.2)
