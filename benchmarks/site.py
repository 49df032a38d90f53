"""Hook of mkdocs: remove the addresses of content delivery networks from the theme's scripts.

The theme fetches a polyfill and mermaid from unpkg.com, and repository figures from the forge,
where a page uses them. No page of ours does, and without the addresses none can.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ADDRESS: Final = re.compile(rb"https://(?:unpkg\.com|api\.github\.com|gitlab\.com)[^\"'`\s]*")
"""Addresses that the theme's scripts can request."""


def on_post_build(config: Mapping[str, str]) -> None:
    """Replace the addresses in the built site's scripts, and delete their source maps.

    Args:
        config: the configuration of mkdocs; ``site_dir`` is the folder of the built site.
    """
    folder = Path(config["site_dir"]) / "assets" / "javascripts"
    for script in folder.rglob("*.js"):
        script.write_bytes(ADDRESS.sub(b"about:blank", script.read_bytes()))
    for source_map in folder.rglob("*.map"):
        source_map.unlink()
