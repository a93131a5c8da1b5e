"""How fast Customer.io is fed: `python -m tests.benchmarks.customerio`."""
