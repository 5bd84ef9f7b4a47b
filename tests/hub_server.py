"""A model hub on this computer: the part of the Hugging Face hub's API that downloads and uploads use, in memory."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_write"
LARGE = (".safetensors", ".onnx", ".png")  # which are stored by their hashes


@dataclass
class Hub:
    """Repositories by name, each with the files of its branches, and what was requested."""

    address: str = ""
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  # that are stated instead of true ones, by file
    down: bool = False

    def add(self, name: str, files: dict[str, bytes], branch: str = "main") -> None:
        self.repositories.setdefault(name, {})[branch] = dict(files)

    def commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Hash and files of a branch, or of the commit with this hash."""
        for branch, files in self.repositories.get(name, {}).items():
            digest = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
            if revision in (branch, digest):
                return digest, files
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def answer(self, status: int, content: bytes | dict | list = b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    @property
    def authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def route(self) -> None:
        content, path = self.body(), self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.down:
            return self.answer(503)
        for method, pattern, function in ROUTES:
            if method in (self.command, "ANY") and (matched := re.fullmatch(pattern, path)):
                return function(self, content, *matched.groups())
        return self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = route

    def files_of(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit that may be read; answers if there is none."""
        if name not in self.hub.repositories or (name in self.hub.private and not self.authorized):
            self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        elif (found := self.hub.commit(name, revision)) is None:
            self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        else:
            return found
        return None

    def info(self, _: bytes, name: str, revision: str | None = None) -> None:
        if found := self.files_of(name, revision or "main"):
            siblings = [{"rfilename": file, "size": self.size(file, content)} for file, content in found[1].items()]
            self.answer(200, {"id": name, "sha": found[0], "siblings": siblings, "private": False, "tags": []})

    def size(self, file: str, content: bytes) -> int:
        return self.hub.sizes.get(file, len(content))

    def tree(self, _: bytes, name: str, revision: str) -> None:
        if found := self.files_of(name, revision):
            entries = [
                {
                    "type": "file",
                    "path": file,
                    "size": self.size(file, content),
                    "oid": hashlib.sha1(content).hexdigest(),
                }
                for file, content in found[1].items()
            ]
            self.answer(200, entries)

    def resolve(self, _: bytes, name: str, revision: str, file: str) -> None:
        if found := self.files_of(name, revision):
            if file not in found[1]:
                return self.answer(404, X_Error_Code="EntryNotFound")
            content = found[1][file]
            self.answer(200, content, X_Repo_Commit=found[0], ETag=f'"{hashlib.sha256(content).hexdigest()}"')
        return None

    def create(self, content: bytes) -> None:
        if not self.authorized:
            return self.answer(401, {"error": "Invalid username or password."})
        asked = json.loads(content)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            return self.answer(409, {"url": f"{self.hub.address}/{name}"})
        self.hub.add(name, {})
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(name)
        return self.answer(200, {"url": f"{self.hub.address}/{name}"})

    def branch(self, _: bytes, name: str, branch: str) -> None:
        self.hub.repositories[name].setdefault(branch, dict(self.hub.repositories[name]["main"]))
        self.answer(200, {})

    def preupload(self, content: bytes, name: str, revision: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(content)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, content: bytes, name: str) -> None:
        objects = [
            asked | {"actions": {"upload": {"href": f"{self.hub.address}/objects/{asked['oid']}", "header": {}}}}
            for asked in json.loads(content)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, content: bytes, digest: str) -> None:
        self.hub.objects[digest] = content
        self.answer(200)

    def commits(self, content: bytes, name: str, revision: str) -> None:
        if not self.authorized:
            return self.answer(401)
        files = self.hub.repositories[name][revision]
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        digest, _ = self.hub.commit(name, revision)
        return self.answer(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{digest}", "commitOid": digest})

    def validate(self, _: bytes) -> None:
        self.answer(200, {"errors": [], "warnings": []})


NAME = r"([^/]+/[^/]+)"
ROUTES = (
    ("GET", rf"/api/models/{NAME}", Handler.info),
    ("GET", rf"/api/models/{NAME}/revision/([^/]+)", Handler.info),
    ("GET", rf"/api/models/{NAME}/tree/([^/]+)", Handler.tree),
    ("GET", rf"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("HEAD", rf"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.validate),
    ("POST", rf"/api/models/{NAME}/branch/([^/]+)", Handler.branch),
    ("POST", rf"/api/models/{NAME}/preupload/([^/]+)", Handler.preupload),
    ("POST", rf"/{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", r"/objects/(\w+)", Handler.store),
    ("POST", rf"/api/models/{NAME}/commit/([^/]+)", Handler.commits),
)


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub that answers at `address` until the block is left."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
