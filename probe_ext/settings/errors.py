"""How a wrong setting is refused."""


class SettingsError(Exception):
    """One line that names the key, the value and, where there is one, the file."""
