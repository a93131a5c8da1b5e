"""`syncer`, and `python -m syncer`."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run one command of this process's arguments, or say what a command line may become; a shell waits for that."""
    if sys.argv[1:2] == ["--complete"]:
        from syncer.completion import print_completions

        print_completions(" ".join(sys.argv[2:]))
        return
    # Imports leave next to no garbage to look for; `run_command` enables it again.
    gc.disable()
    from syncer.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main()
