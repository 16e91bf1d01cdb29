"""The process of one job: `python -m scheduler.child <parent pid> <words of a headwater command>`.

It ends with the scheduler, even when that is killed, and takes SIGINT as ctrl-C, so that long work keeps its last
checkpoint.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the scheduler ended before its job began")
    # A shell that starts things in the background has them ignore SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from headwater.cli.main import main as headwater

    sys.argv = ["headwater", *sys.argv[2:]]
    try:
        headwater()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
