"""`python -m workers`: run a worker."""

import gc
import sys

import uvloop

from domain import startup
from workers.main import work

YOUNG = 500_000
"""Objects made since the last collection, less those gone again, that set off the next one. The windows under
way and the receipts being applied are a hundred thousand and more, far above the 700 of Python's own choice,
and none of them is garbage: to go through them for each window costs some 4 % of a worker's time."""

if __name__ == "__main__":
    gc.set_threshold(YOUNG, 20, 100)
    gc.freeze()
    sys.exit(startup.guarded(lambda settings: uvloop.run(work(settings))))
