"""`python -m workers`: run a worker."""

import sys

import uvloop

from domain import startup
from workers.main import work

if __name__ == "__main__":
    sys.exit(startup.guarded(lambda settings: uvloop.run(work(settings))))
