"""Print the tag of every image that the Dockerfile and docker-compose.yml use by default and do not build themselves.

The release workflow resolves them to digests, builds on the resolved one, and publishes the list.
"""

import re

from scripts.containers.expectations import ROOT

_DEFAULT = re.compile(r"\b[A-Z]+_IMAGE(?:=|:-)([a-z0-9][\w./-]*:[\w.-]+)")
OWN = "probe-ext:"


def image_tags() -> list[str]:
    """Return the tags, each once."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("Dockerfile", "docker-compose.yml"))
    return sorted({tag for tag in _DEFAULT.findall(text) if not tag.startswith(OWN)})


if __name__ == "__main__":
    print("\n".join(image_tags()))
