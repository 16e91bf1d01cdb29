"""Content-addressed files: raw documents and pages, compressed, named by the SHA-256 of their content."""

import gzip
import hashlib
import os
import re
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import HeadwaterError, NotFound
from headwater.settings import Settings

_DIGEST = re.compile(r"[0-9a-f]{64}")
# The default of 9 costs three times the time for 1-2 % of size on web pages.
_LEVEL = 6


@dataclass(frozen=True)
class Blobs:
    """A folder of blobs; writing the same content twice keeps one file."""

    folder: Path

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256 in hex; on return it survives a crash."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{digest}.{secrets.token_hex(4)}.part")
        try:
            with partial.open("wb") as file:
                file.write(gzip.compress(content, _LEVEL, mtime=0))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return digest

    def get(self, digest: str) -> bytes:
        """The content. Raises NotFound, or HeadwaterError when the file has been altered."""
        path = self._path(digest)
        try:
            content = gzip.decompress(path.read_bytes())
        except FileNotFoundError:
            raise NotFound(f"no blob {digest} under {self.folder}") from None
        except (EOFError, OSError, zlib.error) as error:
            raise HeadwaterError(f"{path} is damaged ({error}); restore it from a backup") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise HeadwaterError(f"{path} does not hold the content it is named by; restore it from a backup")
        return content

    def exists(self, digest: str) -> bool:
        return self._path(digest).exists()

    def delete(self, digest: str) -> None:
        """Remove the blob if it is there; the caller knows that no row refers to it."""
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise HeadwaterError(f"{digest!r} is no blob name: 64 hexadecimal digits are expected")
        return self.folder / digest[:2] / f"{digest[2:]}.gz"


def open_blobs(settings: Settings) -> Blobs:
    """The blobs under `home/raw`."""
    return Blobs(settings.folder("raw"))
