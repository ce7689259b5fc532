"""The coordinating server: it proposes rounds, checks and averages updates, evaluates, checkpoints."""
