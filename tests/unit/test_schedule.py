"""The rules by which triplets become harder, one by one."""

from kith.training.miners import MINERS
from kith.training.schedule import LEVELS, MASTERED, Curriculum

EASY, HARD = MASTERED / 2, MASTERED * 2


def played(*epochs: tuple[float, bool]) -> list[int]:
    """The level after each epoch of (share of active triplets, collapsed)."""
    now, levels = Curriculum(), []
    for active, collapsed in epochs:
        now = now.after(active, collapsed)
        levels.append(now.level)
    return levels


def test_it_begins_with_random_triplets_and_ends_with_the_hardest() -> None:
    assert Curriculum().difficulty.miner == "random"
    assert [level.miner for level in LEVELS[1:-1]] == ["semi-hard"] * (len(LEVELS) - 2)
    assert LEVELS[-1].miner == "batch-hard"
    shares = [level.neighbourhoods for level in LEVELS[:-1]]
    assert shares == sorted(shares)
    assert all(level.miner in MINERS for level in LEVELS)


def test_it_moves_on_one_level_when_few_triplets_are_active() -> None:
    assert played((HARD, False), (EASY, False), (EASY, False), (HARD, False), (EASY, False)) == [0, 1, 2, 2, 3]


def test_the_last_level_is_the_end() -> None:
    assert played(*[(EASY, False)] * 10)[-1] == len(LEVELS) - 1


def test_a_collapse_leads_back_and_its_level_is_never_entered_again() -> None:
    assert played((EASY, False), (EASY, False), (1.0, True), (EASY, False), (EASY, False)) == [1, 2, 1, 1, 1]


def test_few_active_triplets_of_a_collapsed_network_are_no_reason_to_move_on() -> None:
    assert played((EASY, False), (EASY, True)) == [1, 0]


def test_a_collapse_at_the_first_level_stays_there() -> None:
    assert played((1.0, True), (EASY, False)) == [0, 0]


def test_another_threshold_moves_on_later() -> None:
    assert Curriculum(mastered=0.1).after(0.2, collapsed=False).level == 0
    assert Curriculum(mastered=0.1).after(0.05, collapsed=False).level == 1
