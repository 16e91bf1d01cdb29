"""One FastAPI application that mounts the apps' routers beside the house's own routes."""
