"""The lock under which a module is imported on use.

Of modules that import each other, as those of a package and of its parts do, two threads may each hold one and wait for
the other's. Python then gives up, and the package is broken for as long as the process lives.
"""

from __future__ import annotations

import threading

#: Held by every import in a function that may be the first to load a module of another package.
importing = threading.RLock()
