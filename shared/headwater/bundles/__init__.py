"""The artefact that crosses from tuning to serving, and its registry."""

from headwater.bundles.bundle import Bundle, open_bundle, write_bundle
from headwater.bundles.manifest import Manifest
from headwater.bundles.registry import Registry, Version, find_bundle, open_registry

__all__ = ["Bundle", "Manifest", "Registry", "Version", "find_bundle", "open_bundle", "open_registry", "write_bundle"]
