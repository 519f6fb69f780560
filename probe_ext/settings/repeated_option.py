"""A repeatable option on any command line: all of its values count, not only the last."""

import json
from argparse import Action
from typing import Any


class Collect(Action):
    """Keeps all values of a repeated option, as the JSON list that its reader takes."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Add a value."""
        before = getattr(namespace, self.dest, None)
        collected = json.loads(before) if isinstance(before, str) and before.startswith("[") else []  # else a default
        setattr(namespace, self.dest, json.dumps([*collected, values], ensure_ascii=False))
