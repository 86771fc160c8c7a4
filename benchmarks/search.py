"""Searching a gallery: as fast as FAISS and usearch? Always brute force's answer? Undisturbed by enrolments?

Clustered unit vectors, mated and non-mated probes in turn; see benchmarks/search_data.py. The peers find the nearest
templates, Kith the two nearest subjects, with names.

KITH_BENCH_SEARCH names the parts to run, of speed, answers, graph, half and enrolments, with commas between; all by
default.
KITH_BENCH_GALLERIES names the galleries that speed and answers are measured on, as 100000x512,10000x128.
"""

import os
from collections.abc import Sequence

import redis

from benchmarks.report import Figure, at_most
from benchmarks.search_answers import answers
from benchmarks.search_data import people
from benchmarks.search_enrolments import enrolments
from benchmarks.search_graph import graph
from benchmarks.search_half import half
from benchmarks.search_peers import libraries
from benchmarks.search_speed import speed
from benchmarks.session import Session, Unavailable, scratch
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.searchers.searcher import Int8Searcher
from workers.memory import keep_memory

_PARTS = ("speed", "answers", "graph", "half", "enrolments")

_SIZES, _DIMENSIONS = (10_000, 100_000, 1_000_000), (512, 128)

#: Where the graph is built and subjects are enrolled.
_MIDDLE = 100_000, 512

#: Bytes of templates and packed forms, of the templates'.
_MEMORY = 1.35


def run(session: Session) -> list[Figure]:
    """The parts asked for, each gallery made once for the first two."""
    libraries()
    keep_memory()
    parts = chosen("KITH_BENCH_SEARCH", _PARTS)
    figures: list[Figure] = []
    with session.progress("search") as tell:
        for size, dimension in _galleries(session) if {"speed", "answers"} & set(parts) else []:
            tell(f"making {size:,} × {dimension}")
            who = people(size, dimension)
            searcher = Int8Searcher()
            searcher.pack(who.view)
            if "speed" in parts:
                figures += speed(session, who, searcher, tell)
                packed = searcher.nbytes(lambda form: form.nbytes)
                held = 1 + packed / who.templates.nbytes
                name = f"{size:,} × {dimension}: memory with float32, of the templates'"
                figures.append(at_most(name, held, _MEMORY))
            if "answers" in parts:
                figures += answers(session, who, searcher, tell)
            searcher.close()
        size, dimension = (3_000, 32) if session.quick else _MIDDLE
        if "graph" in parts:
            figures += graph(session, people(size, dimension), tell)
        if "half" in parts:
            figures += half(session, people(size, dimension), tell)
        if "enrolments" in parts:
            figures += enrolments(session, people(size, dimension), tell)
        _tell_of_vector_sets(session)
    return figures


def _galleries(session: Session) -> list[tuple[int, int]]:
    every = {f"{size}x{dimension}": (size, dimension) for dimension in _DIMENSIONS for size in _SIZES}
    if session.quick:
        every = {"3000x32": (3_000, 32)}
    return [every[name] for name in chosen("KITH_BENCH_GALLERIES", tuple(every))]


def chosen(variable: str, every: Sequence[str]) -> list[str]:
    """What the environment names, in the order of `every`. Raises Unavailable for what is none of them."""
    named = [name for name in os.environ.get(variable, "").split(",") if name] or list(every)
    if unknown := set(named) - set(every):
        raise Unavailable(f"{variable} names {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    return [name for name in every if name in named]


def _tell_of_vector_sets(session: Session) -> None:
    """Say whether the server here could have been measured too."""
    with (
        scratch() as folder,
        EmbeddedValkey(folder / "valkey") as server,
        redis.Redis.from_url(server.url) as client,
    ):
        commands = {name.decode().upper() for name in client.execute_command("COMMAND LIST")}
        version = client.info("server").get("valkey_version", "unknown")
    known = sorted(commands & {"VADD", "FT.SEARCH"})
    said = f"has {', '.join(known)}, which is not measured yet" if known else "has neither vector sets nor search"
    session.console.print(f"search: the embedded Valkey {version} {said}: nothing of it in the table", highlight=False)
