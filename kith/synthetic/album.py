"""Synthetic people as a folder, SUBJECT/IMAGE.jpg, as `kith submit --enrol`, the demo and a load test take it."""

from collections.abc import Callable
from pathlib import Path

from kith.errors import Rejected
from kith.synthetic.people import People
from kith.synthetic.photograph import jpeg

README = "README.txt"

_TERMS = """These people do not exist.

kith synth drew them from a statistical model: averages of photographs and the directions in which photographs differ,
between people and between pictures of one person. No person is shown and no photograph is contained. A likeness to
somebody would be chance.

The model was learned from research photographs (Labeled Faces in the Wild, CelebA, CASIA-FaceV5), whose terms allow
research and evaluation and, for a part, no commercial use. Use these pictures for what they are made for:
demonstrations, tests and load. Do not train a recogniser you deploy on them, and do not measure with them how well one
recognises real people: they differ in fewer ways, and were chosen to be told apart.

Subjects {first} to {last}, {images} pictures each, seed {seed}, variation {variation:g}.
"""


def write(
    people: People,
    out: Path,
    subjects: int,
    images: int,
    aligned: bool = False,
    add: bool = False,
    tell: Callable[[int], None] = lambda _: None,
) -> range:
    """`subjects` people with `images` pictures each in `out`; the numbers of their folders.

    aligned: 112×112 crops. add: beside what is there, numbered on from the highest subject. tell: pictures written
    so far. Raises Rejected when `out` is a file, or holds anything and `add` is not given.
    """
    if out.exists() and not out.is_dir():
        raise Rejected(f"{out} is a file; synthetic people need a folder")
    if not add and out.is_dir() and any(out.iterdir()):
        raise Rejected(f"{out} is not empty; name a new folder, or --add people to what is there")
    out.mkdir(parents=True, exist_ok=True)
    first = 1 + max((number for each in out.iterdir() if (number := _number(each.name)) is not None), default=0)
    numbers = range(first, first + subjects)
    with (out / README).open("a", encoding="utf-8") as readme:
        readme.write(
            _TERMS.format(
                first=numbers[0], last=numbers[-1], images=images, seed=people.seed, variation=people.variation
            )
        )
    for count, number in enumerate(numbers):
        folder = out / f"subject-{number:04}"
        folder.mkdir()
        for shot in range(images):
            picture = people.picture(number - 1, shot, aligned)
            (folder / f"{shot + 1:04}.jpg").write_bytes(jpeg(picture))
            tell(count * images + shot + 1)
    return numbers


def _number(name: str) -> int | None:
    kind, _, digits = name.partition("-")
    return int(digits) if kind == "subject" and digits.isascii() and digits.isdigit() else None
