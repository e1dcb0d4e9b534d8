"""Crash points: places at which a test has this process killed, as a power cut or ``kill -9`` would.

``SYNTH_CRASH_AT=version.renamed:2`` kills it when it passes the point ``version.renamed`` for the second
time; without the variable a point costs a comparison. Every point stands in the source as a plain name, so
that a test finds all of them there.
"""

import os
import signal

_point, _, _count = os.environ.get("SYNTH_CRASH_AT", "").partition(":")
_left = int(_count or 1) if _point else 0


def here(point: str) -> None:
    """The place called `point`."""
    global _left
    if point != _point:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
