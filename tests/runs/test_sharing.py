"""Runs and datasets are pushed and pulled, through a folder and through a Hub that listens on the
loopback address and speaks its protocol."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import rate
from rate.cli import main
from rate.runs.folder import Run
from rate.runs.sharing import SharingError, pull, push

hub = pytest.importorskip("huggingface_hub")


class Hub(ThreadingHTTPServer):
    """Repositories in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """The requests that an upload and a download make."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def as_json(self, data: Any, status: int = 200, **headers: str) -> None:
        self.answer(json.dumps(data).encode(), status, Content_Type="application/json", **headers)

    def refuse(self) -> None:
        self.as_json({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path = urlsplit(self.path).path
        if self.headers.get("Authorization") != "Bearer secret":
            return self.as_json({"error": "Invalid token"}, 401)
        if path == "/api/validate-yaml":
            return self.as_json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = (
                f"{asked['organization']}/{asked['name']}"
                if "organization" in asked
                else asked["name"]
            )
            self.server.repositories.setdefault(name, {})
            visibility = asked.get("visibility", "private" if asked.get("private") else "public")
            self.server.private[name] = visibility == "private"
            return self.as_json({"url": f"{self.server.address}/{name}", "id": name})
        found = re.fullmatch(r"/api/(models|datasets)/(.+)/(preupload|commit)/main", path)
        assert found, path
        if found[3] == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in files
            ]
            return self.as_json({"files": modes})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                value = line["value"]
                content = base64.b64decode(value["content"])
                self.server.repositories[found[2]][value["path"]] = content
        url = f"{self.server.address}/{found[2]}/commit/abc"
        return self.as_json({"commitUrl": url, "commitOid": "a" * 40, "success": True})

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if found := re.fullmatch(r"/api/(?:models|datasets)/(.+?)/(revision|tree)/([^/]+)/?", path):
            files = self.server.repositories.get(found[1])
            if files is None:
                return self.refuse()
            if found[2] == "tree":
                return self.as_json(
                    [
                        {
                            "type": "file",
                            "path": name,
                            "size": len(content),
                            "oid": hashlib.sha1(content).hexdigest(),
                        }
                        for name, content in files.items()
                    ]
                )
            siblings = [{"rfilename": name} for name in files]
            return self.as_json({"id": found[1], "sha": "a" * 40, "siblings": siblings})
        found = re.fullmatch(r"/(?:datasets/)?(.+?)/resolve/[^/]+/(.+)", path)
        files = self.server.repositories.get(found[1], {}) if found else {}
        if not found or found[2] not in files:
            return self.refuse()
        content = files[found[2]]
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self.answer(content, X_Repo_Commit="a" * 40, ETag=tag)

    def do_HEAD(self) -> None:
        self.do_GET()


def use(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does at the start of a process."""
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub, its address, and a token that it accepts."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use(server.address, monkeypatch)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "secret")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        yield server
        server.shutdown()


def test_a_run_is_pushed_and_pulled_through_a_folder(trained: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    assert main(["push", str(trained), "--to", str(shared)]) == 0
    assert "| task | metric |" in (shared / "README.md").read_text()
    assert not (shared / "training.safetensors").exists()
    again = pull(str(shared), tmp_path / "again")
    assert Run(again).recipe() == Run(trained).recipe()
    agent = rate.load_agent(again)
    agent.reset(2)


def test_a_run_is_pushed_and_pulled_through_a_hub(
    trained: Path, tmp_path: Path, server: Hub
) -> None:
    address = push(trained, "someone/policy", private=True, with_training_state=True)
    assert address == f"{server.address}/someone/policy"
    assert server.private == {"someone/policy": True}
    assert {"recipe.json", "README.md", "training.safetensors"} <= {
        *server.repositories["someone/policy"]
    }
    assert main(["pull", "someone/policy", "--output", str(tmp_path / "again")]) == 0
    again = tmp_path / "again"
    assert (again / "last.safetensors").read_bytes() == (trained / "last.safetensors").read_bytes()
    assert not [path for path in again.iterdir() if path.name.startswith(".")]


def test_a_dataset_is_pushed_and_pulled_through_a_hub(
    recall: Path, tmp_path: Path, server: Hub
) -> None:
    push(recall, "someone/recall")
    again = rate.open_dataset(pull("someone/recall", tmp_path / "again", kind="dataset"))
    ours = rate.open_dataset(recall)
    assert again.content_hash == ours.content_hash
    np.testing.assert_array_equal(again.returns, ours.returns)


def test_files_of_other_kinds_are_neither_pushed_nor_pulled(
    trained: Path, tmp_path: Path, server: Hub
) -> None:
    push(trained, "someone/policy")
    server.repositories["someone/policy"] |= {"setup.py": b"evil", "../above.json": b"{}"}
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    try:
        again = pull("someone/policy", tmp_path / "again")
        assert not (again / "setup.py").exists()
    except SharingError:
        assert not (tmp_path / "again").exists()
    assert not (tmp_path / "above.json").exists()
    copied = tmp_path / "copy"
    push(trained, str(copied))
    (copied / "linked.json").symlink_to(secret)
    assert not (pull(str(copied), tmp_path / "clean") / "linked.json").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("someone/nothing", "refused 'someone/nothing'"),
        ("a/b/c", "no repository of a Hub"),
        ("./nothing", "is no folder"),
    ],
)
def test_what_is_not_there_is_a_sentence(
    name: str, says: str, tmp_path: Path, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SharingError, match=says):
        pull(name, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_wrong_token_a_silent_hub_and_an_empty_folder_are_sentences(
    trained: Path, tmp_path: Path, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SharingError, match="holds no run"):
        push(tmp_path, "someone/nothing")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(SharingError, match="hf auth login"):
        push(trained, "someone/policy")
    monkeypatch.setenv("HF_TOKEN", "secret")
    use("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(SharingError, match="cannot be reached"):
        push(trained, "someone/policy")
