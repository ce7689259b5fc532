"""The server as real processes: SuperLink on loopback, and a TLS gateway that shows clients one API of it."""
