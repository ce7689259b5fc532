"""Gradients of each record of a batch, each in the form that costs least."""

from __future__ import annotations

from client.gradients.network import RecordNetwork, SummingNetwork, record_network, summing_network
from client.gradients.records import RecordGradients

__all__ = ["RecordGradients", "RecordNetwork", "SummingNetwork", "record_network", "summing_network"]
