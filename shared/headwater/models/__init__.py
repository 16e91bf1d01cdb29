"""Base models: the packaged catalog, hub ids and folders, as config + safetensors + tokenizer."""

from headwater.models.catalog import CATALOG, CatalogEntry
from headwater.models.description import BaseModel
from headwater.models.fetch import fetch
from headwater.models.resolve import is_hub_id, resolve_base

__all__ = ["CATALOG", "BaseModel", "CatalogEntry", "fetch", "is_hub_id", "resolve_base"]
