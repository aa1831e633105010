"""A decoder that misbehaves in its worker process as its input file says."""

import os
import signal
import time
from pathlib import Path

from retrieval.errors import NoSoundError


def behave(path):
    """Do what the file says, as a faulty decoder might."""
    what = Path(path).read_text(encoding="utf-8")
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "leave":
        os._exit(7)
    elif what == "hang":
        while True:
            pass
    elif what == "sleep":
        time.sleep(3600)
    elif what == "eat":
        return bytearray(2**40)
    elif what == "need":
        return len(b"1" * (60 * 2**20))
    elif what == "bug":
        raise KeyError("no\nsuch")
    elif what == "silent":
        raise NoSoundError(f"{path}: has only pictures")
    elif what == "write":
        Path(path).write_text("other", encoding="utf-8")
    elif what == "once":  # killed from outside, the first time only
        Path(path).with_suffix(".met").mkdir(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)
    return len(what)
