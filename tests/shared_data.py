"""Where the real faces and weights are, for the tests that need them."""

import os
from pathlib import Path

from tests.servers.fixtures import missing


def shared_data() -> Path:
    """`KITH_SHARED_DATA`, else `../shared/data` beside the checkout. Without it: skip here, fail where CI is set."""
    found = Path(os.environ.get("KITH_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not (found / "weights").is_dir():
        missing("shared data", f"no face data at {found}; name its folder with KITH_SHARED_DATA")
    return found
