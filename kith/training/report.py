"""A training run as one page: what was learned from, how it went, what came out. No script, nothing fetched."""

import base64
import html
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure

from kith.checkpoints import Pack
from kith.training.config import TrainConfig
from kith.training.faces import Faces
from kith.training.progress import Epoch
from kith.training.trainer import Trained

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { text-align: right; padding: .15rem .7rem; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; } .wide { overflow-x: auto; }
.phase { padding-top: 1rem; } .kept { font-weight: bold; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem; }
"""


def write_report(
    file: Path, config: TrainConfig, faces: Faces, held_out: Faces | None, trained: Trained, pack: Pack
) -> Path:
    """Write the page to `file` and its curves beside it (`.png`); the page holds them too."""
    picture = curves(trained.history)
    file.with_suffix(".png").write_bytes(picture)
    people = f"{len(faces.labels):,} pictures of {len(faces.names):,} subjects"
    judged = "nobody was held out" if held_out is None else (
        f"judged on {len(held_out.labels):,} pictures of {len(held_out.names):,} other subjects"
    )  # fmt: skip
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in faces.notes)
    shown = f'<img alt="Loss and figures by epoch" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
    file.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(config.name)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(config.name)}</h1><p>{people}; {judged}. {html.escape(_network(config))}, "
        f"{pack.dimension} dimensions, seed {config.seed}. Model id {pack.model_id}, cutoff "
        f"{pack.default_cutoff:g} ({html.escape(pack.manifest.cutoff_note)}).</p>{shown}"
        f"<ul>{notes}</ul><h2>Epochs</h2><div class=wide>{_table(trained.history)}</div>"
        f"<h2>Configuration</h2><pre>{html.escape(config.model_dump_json(indent=1))}</pre></html>\n",
        encoding="utf-8",
    )
    return file


def _network(config: TrainConfig) -> str:
    return config.network.name if config.network.classifier is None else f"what is left of {config.network.classifier}"


def curves(history: Sequence[Epoch]) -> bytes:
    """PNG: every watched number by epoch, phases told apart by shade, figures on people held out below."""
    names = list(dict.fromkeys(name for epoch in history for name in epoch.facts))
    names += [name for name in ("dir", "rank_1") if any(epoch.validation for epoch in history)]
    rows = -(-max(1, len(names)) // 3)
    figure = Figure(figsize=(11, 2.6 * rows), layout="constrained")
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(rows, 3, place)
        held = name in ("dir", "rank_1")
        points = [
            (number, (epoch.validation or {}).get(name) if held else epoch.facts.get(name))
            for number, epoch in enumerate(history, 1)
        ]
        known = [(number, value) for number, value in points if value is not None]
        axes.plot(*zip(*known, strict=True), marker="o", markersize=3, color="tab:green" if held else "tab:blue")
        for number, (before, after) in enumerate(pairwise(history), 1):
            if before.phase != after.phase:
                axes.axvline(number + 0.5, color="grey", linewidth=0.8, linestyle=":")
        axes.set_title({"dir": "DIR, people held out", "rank_1": "rank-1, people held out"}.get(name, name))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _table(history: Sequence[Epoch]) -> str:
    facts = list(dict.fromkeys(name for epoch in history for name in epoch.facts))
    held = list(dict.fromkeys(name for epoch in history for name in epoch.validation or {}))
    columns = ("epoch", *facts, *held, "images/s")
    rows = ["<tr>" + "".join(f"<th>{html.escape(name)}" for name in columns)]
    # Each best takes the place of the one before: the last is the one that was kept.
    kept = max((index for index, epoch in enumerate(history) if epoch.best), default=None)
    for index, epoch in enumerate(history):
        if index == 0 or history[index - 1].phase != epoch.phase:
            rows.append(f"<tr><th colspan={len(columns)} class=phase>{html.escape(epoch.objective)}")
        values = [epoch.facts.get(name) for name in facts] + [(epoch.validation or {}).get(name) for name in held]
        cells = "".join(f"<td>{'' if value is None else f'{value:.4f}'}" for value in values)
        mark, word = (" class=kept", " (kept)") if index == kept else ("", "")
        rows.append(f"<tr{mark}><td>{epoch.epoch + 1}{word}{cells}<td>{epoch.rate:.0f}")
    return f"<table>{''.join(rows)}</table>"
