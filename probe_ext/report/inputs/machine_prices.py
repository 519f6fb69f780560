"""Read the prices of machines from a YAML list."""

from pathlib import Path

import yaml

from probe_ext.closest_name import did_you_mean
from probe_ext.settings.errors import SettingsError

_KEYS = ("name", "price_per_hour")
_MAX_BYTES = 1 << 20


def machine_prices(file: Path) -> dict[str, float]:
    """Return the hourly price of each machine. SettingsError names file, entry and what is valid."""
    try:
        text = file.read_bytes()[:_MAX_BYTES].decode("utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise SettingsError(f"--machines {file}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"--machines {file}: not valid YAML") from error
    if not isinstance(content, list) or not content:
        raise SettingsError(f"--machines {file}: must be a list of machines, each with name and price_per_hour")
    prices: dict[str, float] = {}
    for number, entry in enumerate(content, 1):
        name, price = _machine(file, number, entry)
        if name in prices:
            raise SettingsError(f"--machines {file}: {name}: is listed twice")
        prices[name] = price
    return prices


def _machine(file: Path, number: int, entry: object) -> tuple[str, float]:
    where = f"--machines {file}: entry {number}"
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: must have name and price_per_hour")
    unknown = next((str(key) for key in entry if key not in _KEYS), None)
    if unknown is not None:
        raise SettingsError(f"{where}: {unknown}: unknown key{did_you_mean(unknown, _KEYS)}; valid: {', '.join(_KEYS)}")
    name, price = entry.get("name"), entry.get("price_per_hour")
    if not isinstance(name, str) or not name:
        raise SettingsError(f"{where}: name: must be a text")
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 < price < 1e9:
        raise SettingsError(f"{where}: price_per_hour: {price}: must be an amount above 0")
    return name, float(price)
