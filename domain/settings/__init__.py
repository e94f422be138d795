"""What a deployment may set: the `GROUPSMS_*` environment variables.

Nothing is read at import and nothing is cached: a process calls `load_settings()` once and hands the
result on.
"""

from domain.settings.deployment import PREFIX, Settings, SettingsError
from domain.settings.loading import load_settings
from domain.settings.urls import redacted

__all__ = ["PREFIX", "Settings", "SettingsError", "load_settings", "redacted"]
