"""Headwater: a fine-tuning core and the runtime that its three applications share."""

__version__ = "0.1.0"
