"""Hostile input for all that reads what somebody else wrote: ledgers, server logs, receipts, settings."""
