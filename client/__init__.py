"""A federated client: it decides what may be computed on its data, charges it, trains and releases."""
