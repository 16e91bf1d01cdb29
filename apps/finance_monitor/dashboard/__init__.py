"""The monitor's dashboard."""
