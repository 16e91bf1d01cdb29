"""Retrieval-augmented customer support: ingest, answer with sources, refuse honestly, hand over."""
