"""The support bot's dashboard, through the gateway's HTTP API."""
