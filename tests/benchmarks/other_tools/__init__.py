"""Other tools on the same work, beside ours: `python -m tests.benchmarks.other_tools`."""
