"""The error for invalid settings."""


class SettingsError(Exception):
    """An invalid setting: one line that names key, value and, if there is one, file."""
