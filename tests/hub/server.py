"""
A Hub for tests: repositories, revisions, large files and tokens behind the routes that huggingface_hub calls. It needs
the standard library only, stores real bytes, checks their SHA-256 and refuses unknown tokens.

`python server.py` prints its address and serves until it is interrupted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
# Files with these endings are uploaded through LFS, as on the Hub.
LARGE = (".safetensors", ".parquet", ".bin", ".arrow", ".pt")


@dataclass
class Commit:
    """All files of a revision: path -> SHA-256 of the content."""

    sha: str
    files: dict[str, str]
    title: str


@dataclass
class Repository:
    kind: str
    name: str
    private: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=lambda: {"main": []})

    def at(self, revision: str) -> Commit:
        if revision in self.branches:
            return self.branches[revision][-1]
        for commit in (commit for branch in self.branches.values() for commit in branch):
            if commit.sha == revision:
                return commit
        raise Refused(404, "Revision not found", "RevisionNotFound")


class Refused(Exception):
    """An error response with a message and a code of the Hub."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Hub:
    """
    The state of the server.

    Attributes:
        tokens (`dict[str, tuple[str, bool]]`): Token -> the account, and whether it may write.
        received (`list[tuple[str, bytes]]`): Path and body of every request with a body, large files included.
        fail_at (`int`, *optional*): Number of the first request, from 1, at which the server closes the connection.
        fail_on (`str`, *optional*): The server closes the connection at every request whose path ends with this.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        self.tokens = {"hf_ada": ("ada", True), "hf_reader": ("reader", False), "hf_bob": ("bob", True)}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.contents: dict[str, bytes] = {}
        self.received: list[tuple[str, bytes]] = []
        self.requests: list[str] = []
        self.fail_at: int | None = None
        self.fail_on: str | None = None

    def fails(self, path: str) -> bool:
        """Whether the server closes the connection at this request."""
        late = self.fail_at is not None and len(self.requests) >= self.fail_at
        return late or (self.fail_on is not None and path.endswith(self.fail_on))

    # ---- Permissions ----

    def account(self, token: str | None) -> tuple[str, bool] | None:
        if token is None:
            return None
        if token not in self.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.tokens[token]

    def writable(self, token: str | None, name: str) -> None:
        account = self.account(token)
        if account is None:
            raise Refused(401, "Invalid username or password.")
        owner = name.split("/")[0]
        if account[0] != owner or not account[1]:
            raise Refused(403, f"You don't have the rights to write to {name} with this token")

    def find(self, kind: str, name: str, token: str | None) -> Repository:
        account = self.account(token)
        repository = self.repositories.get((kind, name))
        if repository is None or (repository.private and (account is None or account[0] != name.split("/")[0])):
            raise Refused(404 if account else 401, "Repository not found", "RepoNotFound")
        return repository

    # ---- Operations ----

    def create(self, kind: str, name: str, private: bool) -> Repository:
        repository = Repository(kind, name, private)
        attributes = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE)
        first = Commit(self.next_sha(repository), {".gitattributes": self.keep(attributes.encode())}, "initial commit")
        repository.branches["main"].append(first)
        self.repositories[(kind, name)] = repository
        return repository

    @staticmethod
    def next_sha(repository: Repository) -> str:
        number = sum(len(commits) for commits in repository.branches.values())
        return hashlib.sha1(f"{repository.kind} {repository.name} {number}".encode()).hexdigest()

    def keep(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.contents[digest] = content
        return digest

    def commit(self, repository: Repository, branch: str, lines: list[dict[str, Any]]) -> Commit:
        """Applies all operations or none, on the tip of a branch."""
        tip = repository.at(branch)
        files = dict(tip.files)
        title = "commit"
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                title = value["summary"]
                parent = value.get("parentCommit")
                if parent is not None and parent != tip.sha:
                    raise Refused(412, "A commit has happened since. Please refresh and try again.")
            elif line["key"] == "file":
                files[value["path"]] = self.keep(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.contents:
                    raise Refused(400, f"LFS pointer of {value['path']} points to a file that does not exist")
                files[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                if value["path"] not in files:
                    raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
                del files[value["path"]]
            else:
                raise Refused(400, f"unknown operation {line['key']}")
        repository.branches[branch].append(Commit(self.next_sha(repository), files, title))
        return repository.branches[branch][-1]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers one request with JSON, bytes or an error of the Hub."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: Any) -> None:
        """Logs nothing."""

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self._body()
        control = path.startswith("/test/")
        with self.hub.lock:
            if not control:
                self.hub.requests.append(f"{self.command} {path}")
                if body:
                    self.hub.received.append((path, body))
            if not control and self.hub.fails(path):
                self.close_connection = True
                return
            try:
                for method, pattern, answer in ROUTES:
                    if method == self.command and (match := re.fullmatch(pattern, path)):
                        answer(self, body, **match.groupdict())
                        return
                raise Refused(404, f"no route {self.command} {path}")
            except Refused as refused:
                headers = {"X-Error-Message": refused.message}
                if refused.code:
                    headers["X-Error-Code"] = refused.code
                self._send(refused.status, json.dumps({"error": refused.message}).encode(), headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    @property
    def token(self) -> str | None:
        header = self.headers.get("Authorization", "")
        return header.removeprefix("Bearer ") if header.startswith("Bearer ") else None

    @property
    def address(self) -> str:
        return f"http://{self.headers['Host']}"

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        defaults = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in {**defaults, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode())

    # ---- Accounts and repositories ----

    def whoami(self, body: bytes) -> None:
        account = self.hub.account(self.token)
        if account is None:
            raise Refused(401, "Invalid username or password.")
        role = "write" if account[1] else "read"
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        self.json({"type": "user", "name": account[0], "orgs": [], "auth": auth})

    def create(self, body: bytes) -> None:
        request = json.loads(body)
        account = self.hub.account(self.token)
        owner = request.get("organization") or (account[0] if account else "")
        name = f"{owner}/{request['name']}"
        self.hub.writable(self.token, name)
        private = request.get("visibility") == "private" or bool(request.get("private"))
        kind = request.get("type") or "model"
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.address}/{prefix}{name}", "name": name, "id": name}
        if (kind, name) in self.hub.repositories:
            self.json({**answer, "error": "You already created this repository"}, 409)
            return
        self.hub.create(kind, name, private)
        self.json(answer)

    def delete(self, body: bytes) -> None:
        request = json.loads(body)
        name = f"{request.get('organization') or self.hub.account(self.token)[0]}/{request['name']}"  # type: ignore[index]
        self.hub.writable(self.token, name)
        kind = request.get("type") or "model"
        self.hub.find(kind, name, self.token)
        del self.hub.repositories[(kind, name)]
        self.json({})

    def branch(self, body: bytes, kind: str, name: str, branch: str) -> None:
        self.hub.writable(self.token, name)
        repository = self.hub.find(TYPES[kind], name, self.token)
        if branch in repository.branches:
            raise Refused(409, "Reference already exists")
        start = json.loads(body or b"{}").get("startingPoint") or "main"
        repository.branches[branch] = list(repository.branches[start])
        self.json({})

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        errors = [] if content.startswith("---\n") else [{"message": "empty or missing yaml metadata"}]
        self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

    # ---- Reading ----

    def _commit(self, kind: str, name: str, revision: str | None) -> tuple[Repository, Commit]:
        repository = self.hub.find(TYPES[kind], name, self.token)
        return repository, repository.at(revision or "main")

    def info(self, body: bytes, kind: str, name: str, revision: str | None = None) -> None:
        repository, commit = self._commit(kind, name, revision)
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        private = repository.private
        self.json({"_id": name, "id": name, "private": private, "sha": commit.sha, "siblings": siblings, "tags": []})

    def tree(self, body: bytes, kind: str, name: str, revision: str, under: str | None = None) -> None:
        _, commit = self._commit(kind, name, revision)
        prefix = f"{under.strip('/')}/" if under else ""
        recursive = "recursive=true" in self.path.lower() or "recursive=1" in self.path
        entries: dict[str, dict[str, Any]] = {}
        for path, digest in sorted(commit.files.items()):
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts)) if recursive else range(1, min(2, len(parts))):
                folder = prefix + "/".join(parts[:depth])
                entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
            if recursive or len(parts) == 1:
                entries[path] = self._entry(path, digest)
        if under and not entries:
            raise Refused(404, "Entry not found", "EntryNotFound")
        self.json(list(entries.values()))

    def _entry(self, path: str, digest: str) -> dict[str, Any]:
        content = self.hub.contents[digest]
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        return entry

    def paths_info(self, body: bytes, kind: str, name: str, revision: str) -> None:
        _, commit = self._commit(kind, name, revision)
        wanted = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
        files = [self._entry(path, commit.files[path]) for path in wanted if path in commit.files]
        folders = {path for path in wanted for file in commit.files if file.startswith(f"{path}/")}
        self.json([*files, *({"type": "directory", "path": p, "size": 0, "oid": "0" * 40} for p in sorted(folders))])

    def refs(self, body: bytes, kind: str, name: str) -> None:
        repository = self.hub.find(TYPES[kind], name, self.token)
        branches = [
            {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": commits[-1].sha}
            for branch, commits in repository.branches.items()
        ]
        self.json({"branches": branches, "tags": [], "converts": []})

    def resolve(self, body: bytes, name: str, revision: str, path: str, kind: str | None = None) -> None:
        _, commit = self._commit(kind or "models", name, revision)
        if path not in commit.files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        digest = commit.files[path]
        content = self.hub.contents[digest]
        tag = digest if path.endswith(LARGE) else git_oid(content)
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{tag}"', "Content-Type": "application/octet-stream"}
        if path.endswith(LARGE):
            headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(content))}
        self._send(200, content, headers)

    # ---- Uploading ----

    def preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        self.hub.writable(self.token, name)
        self._commit(kind, name, revision)
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        self.json({"files": modes})

    def batch(self, body: bytes, name: str, kind: str | None = None) -> None:
        self.hub.writable(self.token, name)
        self.hub.find(TYPES[kind or "models"], name, self.token)
        objects = []
        for wanted in json.loads(body)["objects"]:
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.contents:
                answer["actions"] = {"upload": {"href": f"{self.address}/lfs/{wanted['oid']}", "header": {}}}
            objects.append(answer)
        self.json({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "The SHA-256 of the content is another")
        self.hub.keep(body)
        self.json({})

    def commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        self.hub.writable(self.token, name)
        repository = self.hub.find(TYPES[kind], name, self.token)
        commit = self.hub.commit(repository, revision, [json.loads(line) for line in body.splitlines() if line])
        url = f"{self.address}/{name}/commit/{commit.sha}"
        self.json({"success": True, "commitOid": commit.sha, "commitUrl": url})

    # ---- For the tests ----

    def control(self, body: bytes) -> None:
        request = json.loads(body)
        if request.get("reset"):
            self.hub.reset()
        if "fail_on" in request:
            self.hub.fail_on = request["fail_on"]
        if "fail_at" in request:
            self.hub.fail_at, self.hub.requests = request["fail_at"], []
        self.json({"requests": self.hub.requests})


_KIND, _NAME, _REVISION = r"/api/(?P<kind>models|datasets|spaces)", r"(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
_FILES = r"/((?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"
Route = tuple[str, str, Callable[..., None]]
ROUTES: list[Route] = [
    ("GET", r"/api/whoami-v2", Handler.whoami),
    ("POST", r"/api/repos/create", Handler.create),
    ("DELETE", r"/api/repos/delete", Handler.delete),
    ("POST", r"/api/validate-yaml", Handler.validate),
    ("POST", rf"{_KIND}/{_NAME}/branch/(?P<branch>.+)", Handler.branch),
    ("GET", rf"{_KIND}/{_NAME}", Handler.info),
    ("GET", rf"{_KIND}/{_NAME}/revision/{_REVISION}", Handler.info),
    ("GET", rf"{_KIND}/{_NAME}/refs", Handler.refs),
    ("GET", rf"{_KIND}/{_NAME}/tree/{_REVISION}(/(?P<under>.*))?", Handler.tree),
    ("POST", rf"{_KIND}/{_NAME}/paths-info/{_REVISION}", Handler.paths_info),
    ("POST", rf"{_KIND}/{_NAME}/preupload/{_REVISION}", Handler.preupload),
    ("POST", rf"{_KIND}/{_NAME}/commit/{_REVISION}", Handler.commit),
    ("POST", rf"{_FILES}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", Handler.put),
    ("GET", rf"{_FILES}/resolve/{_REVISION}/(?P<path>.+)", Handler.resolve),
    ("HEAD", rf"{_FILES}/resolve/{_REVISION}/(?P<path>.+)", Handler.resolve),
    ("POST", r"/test/control", Handler.control),
]


def start(hub: Hub | None = None) -> tuple[ThreadingHTTPServer, str]:
    """A server on a free port of the loopback address, and its URL."""
    handler = type("HubHandler", (Handler,), {"hub": hub or Hub()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


if __name__ == "__main__":
    running, url = start()
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    threading.Event().wait()
