"""`python -m workers`: run a worker."""

import sys

from domain import startup
from workers.main import work

if __name__ == "__main__":
    sys.exit(startup.run(work))
