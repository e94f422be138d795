"""The PostgreSQL and the Valkey this service brings along, for when nobody names others.

They belong to none of the processes that use them. A detached keeper process starts and supervises
them, every user holds a file lock (freed by the system however the user dies), and the keeper stops
them some seconds after the last user is gone.
"""

from domain.engines.layout import EngineError
from domain.engines.users import Engines, acquire, engines, wait_until_stopped

__all__ = ["EngineError", "Engines", "acquire", "engines", "wait_until_stopped"]
