"""Ctrl-C that cannot get lost."""

import signal
import sys
import threading
from typing import Final

PAUSE: Final = 0.1
"""Seconds until a Ctrl-C that was dropped comes again."""


def keep_ctrl_c() -> None:
    """Let a Ctrl-C come again that fell into a destructor or the callback of a weak reference: Python drops it there."""
    before = sys.unraisablehook

    def hear(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            again = threading.Timer(PAUSE, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            before(dropped)

    sys.unraisablehook = hear
