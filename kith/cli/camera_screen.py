"""Cameras for a person at a terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from kith.cameras import CameraStatus
from kith.cli.terminal import answer, answer_table, plain_table
from kith.cli.wording import age_of, time_of
from kith.jobs import now_ms

#: What each counter of drops means (docs/cameras.md has more).
_DROPS = {
    "behind": "frames that waited while newer ones came",
    "late": "frames of the past, by the camera's clock",
    "damaged": "frames with lost packets",
    "undecodable": "frames that were no picture",
    "pressure": "frames left out for the workers' sake",
    "internal": "frames that could not be looked at, see the log",
    "withheld": "crops not sent for the workers' sake",
    "expired": "crops that could not be sent before their deadline",
    "unsent": "crops that could not be stored or submitted",
}


def show_cameras(found: Iterable[CameraStatus]) -> None:
    """One line each."""
    table = plain_table("camera", "gallery", "state", "for", "fps", "tracks", "address", "why", right=("fps", "tracks"))
    for each in found:
        tracks = "" if each.report is None else str(each.report.tracks)
        since = age_of(now_ms() - each.since_ms)
        camera = each.camera
        table.add_row(
            *(camera.name, camera.gallery, each.state, since, f"{camera.fps:g}", tracks, camera.shown, each.why or "")
        )
    answer_table(table)


def show_status(status: CameraStatus) -> None:
    """All that is known of one."""
    camera, counts = status.camera, status.counts
    answer(
        f"{camera.name}: {status.state} since {time_of(status.since_ms)}" + (f", {status.why}" if status.why else "")
    )
    answer(f"  address    {camera.shown}" + (f" ({camera.transport})" if camera.address.startswith("rtsp") else ""))
    answer(f"  gallery    {camera.gallery}, lane {camera.lane}")
    region = "" if camera.roi is None else f", region {','.join(f'{side:g}' for side in camera.roi)}"
    answer(f"  looks at   {camera.fps:g} frames a second{region}" + (", as fast as possible" if camera.fast else ""))
    if status.process is not None:
        answer(f"  process    {status.process}")
    if status.report is not None:
        size = "" if status.report.size is None else f"{status.report.size[0]}×{status.report.size[1]} pixels, "
        pressure = f", pressure {status.report.pressure}" if status.report.pressure else ""
        answer(f"  sees       {size}{status.report.tracks} faces now{pressure}")
    if not counts:
        return
    frames, looked_at = counts.get("frames", 0), counts.get("looked_at", 0)
    answer(f"  frames     {counts.get('received', 0):,} received, {frames:,} due, {looked_at:,} searched for faces")
    answer(f"  found      {counts.get('faces', 0):,} faces in {counts.get('tracks', 0):,} tracks")
    answer(f"  sent       {counts.get('sent', 0):,} crops")
    for reason, meaning in _DROPS.items():
        if dropped := counts.get(f"dropped_{reason}"):
            answer(f"  dropped    {dropped:,} {meaning} ({reason})")
    _show_cpu(counts, frames)


def answer_snapshot(taken: Mapping[str, Any]) -> None:
    """What a test of a camera found."""
    width, height = taken["size"]
    answer(f"camera {taken['camera']}: {width}×{height} pixels, {len(taken['faces'])} faces, drawn in {taken['file']}")
    for face in taken["faces"]:
        x, y, across, down = (round(side) for side in face["box"])
        quality = f", quality {face['quality']['value']:.2f}" if face["quality"] else ""
        fate = "would be sent" if face["unfit"] is None else f"would not be sent: {face['unfit'].replace('_', ' ')}"
        answer(f"  {across}×{down} at {x},{y}{quality}: {fate}")


def _show_cpu(counts: Mapping[str, int], frames: int) -> None:
    stages = {name.removeprefix("us_"): spent for name, spent in counts.items() if name.startswith("us_")}
    total = sum(stages.values())
    if total and frames:
        shares = ", ".join(
            f"{stage} {spent / total:.0%}" for stage, spent in sorted(stages.items(), key=lambda s: -s[1])
        )
        answer(f"  CPU        {total / frames / 1000:.1f} ms a frame: {shares}")
