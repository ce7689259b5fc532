"""The server's transparency log: an append-only file whose signed root shows later what was promised when."""
