"""Reading the settings from the environment, and saying which one is wrong."""

import difflib
import os
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSetting

from domain.settings.deployment import PREFIX, Settings, SettingsError


def load_settings() -> Settings:
    """Read the settings from the environment. Raises `SettingsError` on the first wrong one."""
    _refuse_unknown()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        raise SettingsError(_complaint(field, first)) from None
    except UnreadableSetting as error:
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsError(f"{PREFIX}{field.upper()} is not valid JSON: {_expected(field)}") from None


def _refuse_unknown() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known:
            continue
        if upper.startswith(f"{PREFIX}GATEWAYS__") and not upper.endswith("__"):
            if not os.environ[name].strip():
                # Left out, it would be simulator://, and messages would seem delivered that nobody got.
                raise SettingsError(f"{name} is empty: {_expected('gateways')}")
            continue
        bare = [field.upper() for field in Settings.model_fields]
        near = difflib.get_close_matches(upper.removeprefix(PREFIX), bare, n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        raise SettingsError(f"{name} is not a setting: {hint}")


def _complaint(field: str, error: Any) -> str:
    variable = f"{PREFIX}{field.upper()}"
    if error["type"] == "value_error":
        return f"{variable} {error['ctx']['error']}: {_expected(field)}"
    given = next((os.environ[name] for name in os.environ if name.upper() == variable), None)
    secret = field in {"secret_key", "accepted_secret_keys", "gateways", "database_url", "redis_url"}
    found = "has a wrong value" if secret or given is None else f"is {given!r}"
    return f"{variable} {found}: {_expected(field)}"


def _expected(field: str) -> str:
    return f"expected {Settings.model_fields[field].description}"
