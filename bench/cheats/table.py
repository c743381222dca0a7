"""The table of cheats: what a server does that wants to look better than it is heard, and by which words it is named.

And the honest servers, which must pass: a reason for one of them is a fault of the checks.
"""

from __future__ import annotations

from bench.cheats.bold import BOLD
from bench.cheats.crafty import CHARGED, CRAFTY
from bench.cheats.honest import HONEST
from bench.cheats.sly import SLY

__all__ = ["CHARGED", "CHEATS", "HONEST"]

CHEATS = BOLD + SLY + CRAFTY
"""Each must be INVALID for a reason that says one of the words in `named`."""
