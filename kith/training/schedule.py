"""From easy to hard: when a run moves on to harder triplets, and when it goes back."""

from dataclasses import dataclass, replace

#: Share of active triplets below which the level has little left to teach.
MASTERED = 0.3


@dataclass(frozen=True, slots=True)
class Difficulty:
    """miner: a name of kith.training.miners. neighbourhoods: share of batches that are made of look-alikes, 0..1; what
    is left is the `share` of a NeighbourhoodSampler."""

    miner: str
    neighbourhoods: float


#: Random triplets give an untrained network a direction; semi-hard ones teach; look-alikes then bring negatives that
#: chance no longer finds; the hardest ones come last, where what they mostly find is noise in the labels.
LEVELS = (
    Difficulty("random", 0.0),
    Difficulty("semi-hard", 0.0),
    Difficulty("semi-hard", 0.25),
    Difficulty("semi-hard", 0.5),
    Difficulty("semi-hard", 0.75),
    Difficulty("batch-hard", 0.5),
)


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Where a run stands. It is asked once an epoch, and changes by these rules alone:

    1. It begins with random triplets.
    2. When fewer than `mastered` of an epoch's triplets were active, the next level follows; never two at once.
    3. When the embeddings have collapsed, the level before follows, and the one that did it is never entered again.
       At the first level there is none before: it stays.

    It holds no state but its fields, so that a resumed run goes on from a number or two in its checkpoint.
    """

    level: int = 0
    highest: int = len(LEVELS) - 1
    mastered: float = MASTERED

    @property
    def difficulty(self) -> Difficulty:
        """What to train with now."""
        return LEVELS[self.level]

    def after(self, active: float, collapsed: bool) -> "Curriculum":
        """Where it stands after an epoch. active: the share of its triplets that were, its mean; collapsed: see
        kith.training.collapse.CollapseGuard."""
        if collapsed:
            back = max(0, self.level - 1)
            return replace(self, level=back, highest=min(self.highest, back))
        if active < self.mastered:
            return replace(self, level=min(self.level + 1, self.highest))
        return self
