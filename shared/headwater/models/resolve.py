"""Find a base model by catalog name, hub id or folder."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import httpx

from headwater.errors import NotFound, Unavailable
from headwater.models.catalog import CATALOG
from headwater.models.description import BaseModel, read_description
from headwater.models.fetch import fetch, locked
from headwater.progress import Progress, Step, silent
from headwater.settings import Settings

_HUB = "https://huggingface.co"
_REQUIRED = ("config.json", "tokenizer.json", "model.safetensors")
_OPTIONAL = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "generation_config.json",
)


def resolve_base(reference: str, settings: Settings, progress: Progress = silent) -> BaseModel:
    """The base model that `reference` names: a catalog name, a folder, or a hub id ("organisation/model").

    Raises NotFound when it is none of these, Unavailable when the hub does not answer.
    """
    if reference in CATALOG:
        return fetch(reference, settings, progress)
    folder = Path(reference)
    if folder.is_dir():
        return read_description(folder.absolute())
    if is_hub_id(reference):
        return _from_hub(reference, settings, progress)
    raise NotFound(
        f"no base model {reference!r}: it is neither a catalog name ({', '.join(CATALOG)}), "
        "nor a folder, nor a hub id such as organisation/model"
    )


def is_hub_id(reference: str) -> bool:
    """Whether this could be a model of the hub, "organisation/model"; a relative path of two parts looks the same."""
    return reference.count("/") == 1 and not reference.startswith((".", "/"))


def _from_hub(model_id: str, settings: Settings, progress: Progress) -> BaseModel:
    folder = settings.folder("models") / model_id.replace("/", "--")
    if (folder / "headwater.json").is_file():
        return read_description(folder)
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not (folder / "headwater.json").is_file():  # no other process was first
            _download_model(model_id, folder, progress)
    return read_description(folder)


def _download_model(model_id: str, folder: Path, progress: Progress) -> None:
    endpoint = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with tempfile.TemporaryDirectory(prefix=".hub-", dir=folder.parent) as temporary:
        built = Path(temporary) / "model"
        built.mkdir()
        try:
            with httpx.Client(headers=headers, follow_redirects=True, timeout=30.0) as client:
                for number, name in enumerate(_REQUIRED + _OPTIONAL):
                    progress(Step(number, len(_REQUIRED + _OPTIONAL), f"downloading {name}"))
                    _download(client, f"{endpoint}/{model_id}/resolve/main/{name}", built / name, name in _REQUIRED)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the model hub {endpoint} does not answer for {model_id!r} ({type(error).__name__}: {error}). "
                "Set HF_ENDPOINT to a mirror, download the model's folder yourself and pass its path, "
                f"or use a packaged model: {', '.join(CATALOG)}"
            ) from error
        replace(read_description(built), name=model_id).write()
        shutil.rmtree(folder, ignore_errors=True)
        built.rename(folder)


def _download(client: httpx.Client, url: str, target: Path, required: bool) -> None:
    with client.stream("GET", url) as response:
        if response.status_code in (401, 403, 404):
            if not required:
                return
            raise NotFound(
                f"{url} answered {response.status_code}: the model does not exist there, has no {target.name} "
                "(pickled weights are not read), or needs a token (HF_TOKEN)"
            )
        response.raise_for_status()
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as sink:
            for block in response.iter_bytes(1 << 20):
                sink.write(block)
