"""`python -m workers`: run a worker."""

import gc
import sys

import uvloop

from domain import startup
from workers.main import work

YOUNG = 50_000
"""Objects made since the last collection that set off the next one: those of a full window are far more than
the 700 of Python's own choice, and none of them is garbage."""

if __name__ == "__main__":
    gc.set_threshold(YOUNG, 20, 100)
    gc.freeze()
    sys.exit(startup.guarded(lambda settings: uvloop.run(work(settings))))
