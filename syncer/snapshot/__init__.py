"""What one sync's store has acknowledged, and what it may have: the memory between runs, one module a stage."""
