"""What the exit status of every command means. `kith --help` prints this table; scripts rely on it."""

from enum import IntEnum

from kith.errors import InvalidPack, KithError, Misconfigured, Retryable


class Exit(IntEnum):
    """The numbers above 60 are those of sysexits.h, where a supervisor may know them from."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOBODY = 3
    UNAVAILABLE = 69
    BUG = 70
    CONFIGURATION = 78
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    Exit.OK: "done; identify, verify: every image shows somebody known (the one claimed)",
    Exit.FAILED: "refused, or a part of it: an unusable image, an unknown subject, a dead job",
    Exit.USAGE: "the command line is wrong",
    Exit.NOBODY: "identify, verify: every image was judged, and one at least shows nobody known (not the one claimed)",
    Exit.UNAVAILABLE: "a part cannot be reached or did not answer in time; the same command may work later",
    Exit.BUG: "a bug; --debug shows the traceback",
    Exit.CONFIGURATION: "the configuration or the model pack is wrong",
    Exit.INTERRUPTED: "stopped by Ctrl-C (`up` and `results --follow`, which end no other way, exit with 0)",
    Exit.TERMINATED: "stopped by SIGTERM",
}


def exit_of(error: KithError) -> Exit:
    """The status a command ends with because of `error`."""
    if isinstance(error, Retryable):
        return Exit.UNAVAILABLE
    if isinstance(error, Misconfigured | InvalidPack):
        return Exit.CONFIGURATION
    return Exit.FAILED
