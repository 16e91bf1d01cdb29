"""A base model by name, folder or hub id; the hub is a real HTTP server on this machine."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import HeadwaterError, NotFound, Unavailable
from headwater.models import resolve_base
from headwater.settings import Settings


class Hub(http.server.ThreadingHTTPServer):
    """Serves `files` {path: bytes}; `cut` names paths that break off half-way; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.status: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        content = self.server.files.get(self.path)
        if content is None or self.path in self.server.status:
            self.send_error(self.server.status.get(self.path, 404))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that holds the tiny model as acme/tiny."""
    server = Hub()
    for path in tiny_model.iterdir():
        server.files[f"/acme/tiny/resolve/main/{path.name}"] = path.read_bytes()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    server.files["/acme/tiny/resolve/main/1_Pooling/config.json"] = json.dumps(pooling).encode()
    server.files["/acme/tiny/resolve/main/sentence_bert_config.json"] = b'{"max_seq_length": 32}'
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def kept(home: Settings) -> list[str]:
    return sorted(path.name for path in home.folder("models").iterdir() if path.suffix != ".lock")


def test_hub_model_is_downloaded_once_from_the_mirror_with_its_own_description(empty_home: Settings, hub: Hub) -> None:
    model = resolve_base("acme/tiny", empty_home)
    assert (model.name, model.pooling, model.max_length) == ("acme/tiny", "cls", 32)
    assert (model.path / "model.safetensors").read_bytes() == hub.files["/acme/tiny/resolve/main/model.safetensors"]
    asked = len(hub.asked)
    assert resolve_base("acme/tiny", empty_home) == model
    assert len(hub.asked) == asked
    assert kept(empty_home) == ["acme--tiny"]


def test_token_is_sent_to_the_hub(empty_home: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    resolve_base("acme/tiny", empty_home)
    assert {token for _, token in hub.asked} == {"Bearer secret"}


def test_hub_that_does_not_answer_is_named_with_every_way_out(
    empty_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(Unavailable) as caught:
        resolve_base("acme/tiny", empty_home)
    message = str(caught.value)
    assert f"the model hub http://127.0.0.1:{port} does not answer for 'acme/tiny' (ConnectError" in message
    for way_out in ("Set HF_ENDPOINT to a mirror", "pass its path", "minilm, mpnet, multilingual"):
        assert way_out in message
    assert kept(empty_home) == []


@pytest.mark.parametrize("endpoint", ["mirror.example", "http://[broken", "ftp://127.0.0.1"])
def test_endpoint_that_is_no_address_is_answered_like_an_unreachable_hub(
    empty_home: Settings, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(Unavailable, match="Set HF_ENDPOINT to a mirror"):
        resolve_base("acme/tiny", empty_home)


def test_download_that_breaks_off_leaves_nothing_and_the_next_one_succeeds(empty_home: Settings, hub: Hub) -> None:
    hub.cut.add("/acme/tiny/resolve/main/model.safetensors")
    with pytest.raises(Unavailable, match="does not answer for 'acme/tiny'"):
        resolve_base("acme/tiny", empty_home)
    assert kept(empty_home) == []
    hub.cut.clear()
    assert resolve_base("acme/tiny", empty_home).name == "acme/tiny"


def test_hub_error_is_unavailable(empty_home: Settings, hub: Hub) -> None:
    hub.status["/acme/tiny/resolve/main/config.json"] = 502
    with pytest.raises(Unavailable, match="502"):
        resolve_base("acme/tiny", empty_home)


def test_model_that_the_hub_has_not_is_named_with_its_address(empty_home: Settings, hub: Hub) -> None:
    with pytest.raises(
        NotFound, match=rf"{hub.url}/acme/none/resolve/main/config\.json answered 404: the model does not"
    ):
        resolve_base("acme/none", empty_home)
    del hub.files["/acme/tiny/resolve/main/model.safetensors"]
    with pytest.raises(NotFound, match=r"has no model\.safetensors \(pickled weights are not read\)"):
        resolve_base("acme/tiny", empty_home)
    hub.status["/acme/tiny/resolve/main/config.json"] = 401
    with pytest.raises(NotFound, match=r"answered 401: .*needs a token \(HF_TOKEN\)"):
        resolve_base("acme/tiny", empty_home)
    assert kept(empty_home) == []


def test_folder_is_a_base_model_also_through_a_link_and_from_a_relative_path(
    empty_home: Settings, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(tiny_model)
    assert resolve_base(str(link), empty_home).path == link
    monkeypatch.chdir(tmp_path)
    relative = resolve_base("tiny-bert", empty_home)
    assert relative.path == tmp_path / "tiny-bert"
    assert (relative.name, relative.kind, relative.pooling, relative.language) == ("tiny-bert", "encoder", "mean", "en")
    assert relative.max_length == 64


def test_folder_with_an_own_description_is_taken_at_its_word(empty_home: Settings, tiny_model: Path) -> None:
    values = {"name": "ours", "language": "zh", "pooling": "cls", "query_prefix": "q: ", "max_length": 17, "new": 1}
    (tiny_model / "headwater.json").write_text(json.dumps(values))
    model = resolve_base(str(tiny_model), empty_home)
    assert (model.name, model.language, model.pooling, model.query_prefix) == ("ours", "zh", "cls", "q: ")
    assert model.max_length == 17
    model.write()
    assert resolve_base(str(tiny_model), empty_home) == model


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_folder_that_lacks_a_file_is_told_which(empty_home: Settings, tiny_model: Path, name: str) -> None:
    (tiny_model / name).unlink()
    (tiny_model / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(HeadwaterError, match=rf"tiny-bert .*{name}"):
        resolve_base(str(tiny_model), empty_home)


@pytest.mark.parametrize("name", ["headwater.json", "config.json"])
def test_folder_whose_description_is_not_json_is_told_which(empty_home: Settings, tiny_model: Path, name: str) -> None:
    (tiny_model / name).write_text("{not json")
    with pytest.raises(HeadwaterError, match=rf"{name} is not JSON"):
        resolve_base(str(tiny_model), empty_home)


def test_reference_that_is_nothing_is_answered_with_what_it_could_be(empty_home: Settings, tmp_path: Path) -> None:
    for reference in ("bert", "./missing/model", str(tmp_path / "missing"), "a/b/c"):
        with pytest.raises(NotFound, match=r"neither a catalog name \(minilm, .*\), nor a folder, nor a hub id"):
            resolve_base(reference, empty_home)


def test_hub_fetches_at_once_end_with_one_whole_model(empty_home: Settings, hub: Hub) -> None:
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(resolve_base("acme/tiny", empty_home).name)
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["acme/tiny"] * 6
    assert kept(empty_home) == ["acme--tiny"]
    assert sum(path.endswith("model.safetensors") for path, _ in hub.asked) == 1
