"""Model packs in words: lists, cards, terms, and how far a download is."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from kith.cli.exits import Exit
from kith.cli.terminal import answer, answer_table, plain_table, say
from kith.packs.catalogue import Entry
from kith.packs.listing import EVALUATION, MODEL_CARD, Listed

#: Of evaluation.json, what is too long to read: curves, and pictures one by one.
_LONG = frozenset({"roc", "det", "confusions", "skipped", "same_picture_under_two_names"})

_MB = 1_000_000

#: Seconds between plain lines.
_LINE_EVERY_S = 5.0


def show_list(packs: Sequence[Listed]) -> None:
    """A table, and below it what is wrong with a pack."""
    table = plain_table(
        "name", "where", "model id", "embedder", "dim", "detector", "size", "terms", right=("dim", "size")
    )
    for pack in packs:
        table.add_row(
            pack.name,
            pack.where,
            pack.model_id or "",
            pack.embedder,
            "" if pack.dimension is None else str(pack.dimension),
            pack.detector or "none: aligned crops",
            size_text(pack.size),
            pack.terms or f"cannot be used: {pack.fault}",
        )
    answer_table(table)
    if not any(pack.where == "shipped" for pack in packs):
        answer("No pack shipped with this installation.")
    if any(pack.where == "catalogue" for pack in packs):
        answer("`kith models pull NAME` gets one of the catalogue; its terms are shown and confirmed first.")


def show_pack(path: Path, plain: dict[str, Any]) -> None:
    """The model card, the manifest, and the figures of the evaluation, as far as they are there."""
    if plain["card"]:
        answer(plain["card"].rstrip() + "\n")
    answer(f"{path / 'manifest.json'}")
    for name, value in _flat("", plain["manifest"]):
        answer(f"  {name} = {value}")
    if plain["evaluation"] is not None:
        answer(f"\n{path / EVALUATION}")
        for name, value in _flat("", plain["evaluation"]):
            answer(f"  {name} = {value}")


def documents_of(path: Path) -> dict[str, Any]:
    """card, text or empty; evaluation, JSON or None. What cannot be read is left out with a word on standard error."""
    card, evaluation = path / MODEL_CARD, path / EVALUATION
    try:
        figures = json.loads(evaluation.read_text()) if evaluation.is_file() else None
    except ValueError as broken:
        say(f"kith: {evaluation} is no JSON: {broken}")
        figures = None
    return {
        "card": card.read_text(errors="replace") if card.is_file() else "",
        "evaluation": figures,
    }


def show_entry(entry: Entry) -> None:
    """What is known of a pack that is not here."""
    answer(f"{entry.name}: not here yet; `kith models pull {entry.name}` gets it")
    answer(f"  licence: {entry.licence}")
    answer(f"  source: {entry.source}")
    answer(f"  embedder: {entry.embedder}, {entry.dimension} dimensions; detector: {entry.detector or 'none'}")
    for file in entry.files:
        answer(f"  {file.url}\n    {size_text(file.size)}, SHA-256 {file.sha256}\n    stated by: {file.evidence}")


def confirm(question: str, yes: bool) -> None:
    """Ask, unless `yes` has answered already. Ends the command when the answer is no, or nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; read the terms above and add --yes")
    if not typer.confirm(question, err=True):
        say("nothing was downloaded")
        raise typer.Exit(Exit.FAILED)


@contextmanager
def downloading(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """While files are fetched: gives the function to call with a file's name, the bytes there, and of how many."""
    if not sys.stderr.isatty() or quiet:
        next_s = time.monotonic() + _LINE_EVERY_S

        def line(name: str, done: int, total: int | None) -> None:
            nonlocal next_s
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + _LINE_EVERY_S
                say(f"kith: {name}: {size_text(done)}{'' if total is None else f' of {size_text(total)}'}")

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def move(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield move


def size_text(size: int) -> str:
    """`38.7 MB`, or `12 kB`."""
    return f"{size / _MB:.1f} MB" if size >= _MB else f"{size / 1000:.0f} kB"


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high"}:
            yield prefix, f"{value['value']:.4f} ({value['low']:.4f} to {value['high']:.4f})"
            return
        for name, inner in value.items():
            if name not in _LONG:
                yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value):
            yield from _flat(f"{prefix}.{number}", each)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
