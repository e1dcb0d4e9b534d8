"""A Hub on 127.0.0.1, so that the real client, its sockets and its retries are what is tested.

It speaks the part of the Hub's API that pushing and loading datasets and models needs, keeps
repositories with their history, writes every request down, and fails when told to:

    with HubServer() as hub:
        hub.fail(r"POST .*/commit/", 503)            # the first commit is answered with a 503
        hub.fail(r"GET .*/refs", 0, nth=2, times=3)  # the 2nd to 4th look at the refs are hung up on

The client reads HF_ENDPOINT and its like when it is imported, so it runs in a child process, with
`hub.environment(home)`. There is no xet storage here: HF_HUB_DISABLE_XET=1 is part of that.
"""

import base64
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import file_digest, sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

LARGE_FILES = (".parquet", ".arrow", ".safetensors", ".bin", ".gguf", ".pt")
LARGE_BYTES = 10_000_000
BEGUN = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of a commit. `oid` is git's name for it, `sha256` is "" unless it is an LFS file."""

    path: Path
    size: int
    oid: str
    sha256: str = ""

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid

    def read(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Commit:
    oid: str
    parent: str
    message: str
    files: Mapping[str, Blob]


@dataclass(slots=True)
class Repo:
    """`commits` is in the order in which they were made; the first is the Hub's own."""

    kind: str
    name: str
    private: bool
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        return self.at("main")

    def at(self, revision: str) -> Commit:
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        for commit in self.commits:
            if commit.oid == oid:
                return commit
        raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add(self, branch: str, message: str, files: Mapping[str, Blob]) -> Commit:
        parent = self.branches.get(branch, "")
        names = sorted((path, blob.etag) for path, blob in files.items())
        oid = sha1(repr((self.name, parent, len(self.commits), message, names)).encode()).hexdigest()
        self.commits.append(Commit(oid, parent, message, dict(files)))
        self.branches[branch] = oid
        return self.commits[-1]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request: what was asked, with which token ("" for none), and what was answered (0: hung up).

    `at_s` is when it was answered, on the monotonic clock.
    """

    method: str
    path: str
    token: str
    status: int
    at_s: float

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


@dataclass(slots=True)
class Fault:
    """Answers `status` to the `nth` request, and to `times` in all, whose "METHOD path" starts so.

    Status 0 hangs up. With `after` the request does its work first and only its answer is lost.
    """

    pattern: str
    status: int
    nth: int = 1
    times: int = 1
    after: bool = False
    message: str = "out of order"
    headers: Mapping[str, str] = field(default_factory=dict)
    matched: int = 0

    def strikes(self, request: str) -> bool:
        if not re.match(self.pattern, request):
            return False
        self.matched += 1
        return self.nth <= self.matched < self.nth + self.times

    def answer(self) -> "_Answer":
        told = _refusal(self.status, self.message).answer
        return replace(told, headers={**told.headers, **self.headers})


@dataclass(frozen=True, slots=True)
class _Request:
    """`body` holds what was sent, or for a PUT the file that it was written to."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | Path

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def text(self) -> bytes:
        assert isinstance(self.body, bytes)
        return self.body

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class _Answer:
    """`body` is sent as it is; a path is a file, of which `start` up to `stop` is sent."""

    status: int = 200
    body: bytes | Path = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    stop: int = 0

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.stop - self.start


class _Refused(Exception):
    def __init__(self, answer: _Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def _json(value: object, status: int = 200, **headers: str) -> _Answer:
    return _Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def _refusal(status: int, message: str, code: str = "") -> _Refused:
    named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return _Refused(_json({"error": message}, status, **named))


Route = Callable[..., _Answer]
_ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
_REPO = r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)"
_FILES = r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)"


def _route(method: str, pattern: str) -> Callable[[Route], Route]:
    def keep(route: Route) -> Route:
        _ROUTES.append((method, re.compile(pattern), route))
        return route

    return keep


class HubServer:
    """The server. `log` is every request in order; `repos` is by "datasets/me/name" or "models/…".

    Knows one token, whose user may write to the namespaces in `spaces`.
    """

    def __init__(self, token: str = "hf_right", spaces: tuple[str, ...] = ("me", "lab")) -> None:
        self.token = token
        self.spaces = spaces
        self.log: list[Seen] = []
        self.repos: dict[str, Repo] = {}
        self._faults: list[Fault] = []
        self._events: list[tuple[str, Callable[[], object]]] = []
        self._lock = threading.RLock()
        self._folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def reset(self) -> None:
        """As new, at the same address."""
        with self._lock:
            for kept in (self.log, self.repos, self._faults, self._events):
                kept.clear()
            for path in self._folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """What a child needs to take this server for the Hub, and nothing of the machine's own login."""
        kept = {key: value for key, value in os.environ.items() if not key.upper().startswith("HF_")}
        kept = {key: value for key, value in kept.items() if not key.lower().endswith("_proxy")}
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token if token is None else token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def fail(self, pattern: str, status: int, **more: Any) -> None:
        """From now on, this `Fault`."""
        self._faults.append(Fault(pattern, status, **more))

    def meanwhile(self, pattern: str, happens: Callable[[], object]) -> None:
        """Something that happens once, just before a request whose "METHOD path" starts so is answered."""
        self._events.append((pattern, happens))

    def count(self, pattern: str) -> int:
        """How many requests there were whose "METHOD path" starts so."""
        return sum(bool(re.match(pattern, f"{seen.method} {seen.path}")) for seen in self.log)

    def commit(self, name: str, files: Mapping[str, bytes | None], message: str = "by hand") -> Commit:
        """What somebody else does on the web page: write files of "datasets/me/name", or delete (None)."""
        with self._lock:
            repo = self.repos[name]
            kept = {path: blob for path, blob in repo.head.files.items() if path not in files}
            new = {path: self._blob(content) for path, content in files.items() if content is not None}
            return repo.add("main", message, kept | new)

    # ---- how a request is answered

    def answer(self, request: _Request) -> _Answer:
        asked = f"{request.method} {request.path}"
        with self._lock:
            for event in [event for event in self._events if re.match(event[0], asked)]:
                self._events.remove(event)
                event[1]()
            fault = next((fault for fault in self._faults if fault.strikes(asked)), None)
            answer = self._dispatch(request) if fault is None or fault.after else None
            answer = fault.answer() if fault is not None else answer or _Answer()
            self.log.append(Seen(request.method, request.path, request.token, answer.status, monotonic()))
        return answer

    def spool(self) -> Path:
        """A new file for what is being sent."""
        handle, path = tempfile.mkstemp(dir=self._folder)
        os.close(handle)
        return Path(path)

    def _dispatch(self, request: _Request) -> _Answer:
        try:
            return self._routed(request)
        except _Refused as refused:
            return refused.answer

    def _routed(self, request: _Request) -> _Answer:
        if request.token not in ("", self.token):
            raise _refusal(401, "Invalid credentials in Authorization header")
        method = "GET" if request.method == "HEAD" else request.method
        for verb, pattern, route in _ROUTES:
            found = pattern.fullmatch(request.path)
            if verb == method and found:
                parts = {key: unquote(value or "") for key, value in found.groupdict().items()}
                return route(self, request, **parts)
        raise _refusal(404, f"no such endpoint: {request.method} {request.path}")

    def _repo(self, request: _Request, kind: str, name: str, *, write: bool = False) -> Repo:
        repo = self.repos.get(f"{kind or 'models'}/{name}")
        if write and not request.token:
            raise _refusal(401, "Invalid username or password.")
        # As on the Hub, a private repository looks like none to those who may not see it.
        if repo is None or (repo.private and not request.token):
            raise _refusal(404 if request.token else 401, "Repository not found", "RepoNotFound")
        return repo

    def _blob(self, content: bytes, path: Path | None = None) -> Blob:
        path = path or self.spool()
        path.write_bytes(content)
        return Blob(path, len(content), sha1(b"blob %d\0" % len(content) + content).hexdigest())

    def _large(self, sha256: str) -> Path:
        return self._folder / "lfs" / sha256

    # ---- people and repositories

    @_route("GET", r"/api/whoami-v2")
    def _whoami(self, request: _Request) -> _Answer:
        if not request.token:
            raise _refusal(401, "Invalid username or password.")
        orgs = [{"name": space, "type": "org"} for space in self.spaces[1:]]
        return _json({"type": "user", "name": self.spaces[0], "orgs": orgs, "auth": {"type": "access_token"}})

    @_route("POST", r"/api/repos/create")
    def _create(self, request: _Request) -> _Answer:
        asked = request.json()
        space = asked.get("organization") or self.spaces[0]
        if not request.token:
            raise _refusal(401, "Invalid username or password.")
        if space not in self.spaces:
            raise _refusal(403, f'You don\'t have the rights to create a repo under the namespace "{space}"')
        kind, name = f"{asked.get('type') or 'model'}s", f"{space}/{asked['name']}"
        url = f"{self.url}/{'datasets/' if kind == 'datasets' else ''}{name}"
        if f"{kind}/{name}" in self.repos:
            return _json({"error": "You already created this repo", "url": url}, 409)
        hidden = asked.get("visibility") == "private" or asked.get("private") is True
        repo = self.repos[f"{kind}/{name}"] = Repo(kind, name, hidden)
        rules = "".join(f"*{end} filter=lfs diff=lfs merge=lfs -text\n" for end in LARGE_FILES)
        repo.add("main", "initial commit", {".gitattributes": self._blob(rules.encode())})
        return _json({"url": url, "name": name, "id": f"{kind}/{name}"})

    @_route("DELETE", r"/api/repos/delete")
    def _delete(self, request: _Request) -> _Answer:
        asked = request.json()
        name = f"{asked.get('organization') or self.spaces[0]}/{asked['name']}"
        repo = self._repo(request, f"{asked.get('type') or 'model'}s", name, write=True)
        del self.repos[f"{repo.kind}/{repo.name}"]
        return _json({})

    @_route("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?")
    def _info(self, request: _Request, kind: str, name: str, revision: str) -> _Answer:
        repo = self._repo(request, kind, name)
        commit = repo.at(revision or "main")
        files = [{"rfilename": path, "size": blob.size} for path, blob in sorted(commit.files.items())]
        return _json(
            {"id": name, "author": name.split("/")[0], "sha": commit.oid, "private": repo.private}
            | {"gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
            | {"createdAt": BEGUN, "lastModified": BEGUN, "siblings": files}
        )

    @_route("POST", r"/api/validate-yaml")
    def _validate(self, request: _Request) -> _Answer:
        content = request.json()["content"]
        if re.match(r"---\r?\n.*?^---\s*$", content, re.DOTALL | re.MULTILINE):
            return _json({"errors": [], "warnings": []})
        if content.startswith("---"):
            return _json({"errors": [{"message": "front matter is not closed"}], "warnings": []}, 400)
        return _json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})

    # ---- reading

    @_route("GET", _REPO + r"/refs")
    def _refs(self, request: _Request, kind: str, name: str) -> _Answer:
        repo = self._repo(request, kind, name)

        def named(kind_of_ref: str, refs: Mapping[str, str]) -> list[dict[str, str]]:
            where = f"refs/{kind_of_ref}/"
            return [{"name": ref, "ref": where + ref, "targetCommit": oid} for ref, oid in refs.items()]

        shown = {"branches": named("heads", repo.branches), "tags": named("tags", repo.tags)}
        return _json(shown | {"converts": [], "pullRequests": []})

    @_route("GET", _REPO + r"/commits/(?P<revision>[^/]+)")
    def _commits(self, request: _Request, kind: str, name: str, revision: str) -> _Answer:
        repo = self._repo(request, kind, name)
        line, oid = [], repo.at(revision).oid
        while oid:
            commit = repo.at(oid)
            line.append({"id": oid, "title": commit.message, "message": "", "date": BEGUN, "authors": []})
            oid = commit.parent
        return _json(line)

    @_route("GET", _REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
    def _tree(self, request: _Request, kind: str, name: str, revision: str, folder: str) -> _Answer:
        commit = self._repo(request, kind, name).at(revision)
        entries = _entries(commit.files, folder, deep=request.query.get("recursive", "").lower() == "true")
        if folder and not entries:
            raise _refusal(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
        return _json(entries)

    @_route("POST", _REPO + r"/paths-info/(?P<revision>[^/]+)")
    def _paths(self, request: _Request, kind: str, name: str, revision: str) -> _Answer:
        commit = self._repo(request, kind, name).at(revision)
        if "json" in request.headers.get("content-type", ""):
            asked = request.json()["paths"]
        else:
            asked = [value for key, value in parse_qsl(request.text.decode()) if key == "paths"]
        every = {entry["path"]: entry for entry in _entries(commit.files, "", deep=True)}
        return _json([every[path] for path in asked if path in every])

    @_route("GET", _FILES + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def _resolve(self, request: _Request, kind: str, name: str, revision: str, path: str) -> _Answer:
        commit = self._repo(request, kind, name).at(revision)
        told = {"X-Repo-Commit": commit.oid}
        blob = commit.files.get(path)
        if blob is None:
            refused = _refusal(404, "Entry not found", "EntryNotFound").answer
            raise _Refused(replace(refused, headers={**refused.headers, **told}))
        told |= {"ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
        if blob.sha256:
            told |= {"X-Linked-Size": str(blob.size), "X-Linked-Etag": f'"{blob.sha256}"'}
        return _part(blob, request.headers.get("range", ""), told)

    # ---- writing

    @_route("POST", _REPO + r"/preupload/(?P<revision>[^/]+)")
    def _preupload(self, request: _Request, kind: str, name: str, revision: str) -> _Answer:
        commit = self._repo(request, kind, name, write=True).at(revision)
        ignored = commit.files[".gitignore"].read().decode().split() if ".gitignore" in commit.files else []
        told = []
        for asked in request.json()["files"]:
            path, there = asked["path"], commit.files.get(asked["path"])
            large = path.endswith(LARGE_FILES) or asked["size"] > LARGE_BYTES
            told.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": path in ignored,
                    "oid": there.etag if there else None,
                }
            )
        return _json({"files": told})

    @_route("POST", _FILES + r"\.git/info/lfs/objects/batch")
    def _batch(self, request: _Request, kind: str, name: str) -> _Answer:
        self._repo(request, kind, name, write=True)
        told = []
        for asked in request.json()["objects"]:
            upload = {"href": f"{self.url}/storage/{asked['oid']}?signature=secret"}
            verify = {"href": f"{self.url}/storage/{asked['oid']}/verify"}
            there = self._large(asked["oid"]).exists()
            told.append(asked if there else asked | {"actions": {"upload": upload, "verify": verify}})
        return _json({"transfer": "basic", "objects": told})

    @_route("PUT", r"/storage/(?P<oid>[0-9a-f]{64})")
    def _put(self, request: _Request, oid: str) -> _Answer:
        assert isinstance(request.body, Path)
        with request.body.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() != oid:
                raise _refusal(400, "the content has another digest")
        self._large(oid).parent.mkdir(exist_ok=True)
        request.body.replace(self._large(oid))
        return _Answer()

    @_route("POST", r"/storage/(?P<oid>[0-9a-f]{64})/verify")
    def _verify(self, request: _Request, oid: str) -> _Answer:
        there = self._large(oid)
        if not there.exists() or there.stat().st_size != request.json()["size"]:
            raise _refusal(404, "no such object")
        return _json({})

    @_route("POST", _REPO + r"/commit/(?P<revision>[^/]+)")
    def _commit(self, request: _Request, kind: str, name: str, revision: str) -> _Answer:
        repo = self._repo(request, kind, name, write=True)
        if revision not in repo.branches:
            raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        header, *changes = (json.loads(line) for line in request.text.splitlines())
        seen = header["value"].get("parentCommit")
        if seen and seen != repo.branches[revision]:
            raise _refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.at(revision).files)
        for change in changes:
            self._change(files, change["key"], change["value"])
        commit = repo.add(revision, header["value"]["summary"], files)
        where = "datasets/" if kind == "datasets" else ""
        url = f"{self.url}/{where}{name}/commit/{commit.oid}"
        return _json({"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""})

    def _change(self, files: dict[str, Blob], key: str, value: Mapping[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            files[path] = self._blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            files[path] = self._pointer(value["oid"])
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise _refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key == "deletedFolder":
            for inner in [name for name in files if name.startswith(f"{path.rstrip('/')}/")]:
                del files[inner]

    def _pointer(self, sha256: str) -> Blob:
        there = self._large(sha256)
        if not there.exists():
            raise _refusal(
                400, "Your push was rejected: an LFS pointer pointed to a file that does not exist"
            )
        size = there.stat().st_size
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return Blob(there, size, sha1(b"blob %d\0" % len(text) + text).hexdigest(), sha256)

    @_route("POST", _REPO + r"/(?P<what>tag|branch)/(?P<given>[^/]+)")
    def _ref(self, request: _Request, kind: str, name: str, what: str, given: str) -> _Answer:
        """A tag's path names the revision and its body the tag; with a branch it is the other way round."""
        repo = self._repo(request, kind, name, write=True)
        asked = request.json()
        refs = repo.tags if what == "tag" else repo.branches
        new, start = (asked["tag"], given) if what == "tag" else (given, asked.get("startingPoint", "main"))
        if new in refs:
            raise _refusal(409, f"{what} {new} already exists")
        refs[new] = repo.at(start).oid
        return _json({})

    @_route("DELETE", _REPO + r"/(?P<what>tag|branch)/(?P<given>[^/]+)")
    def _unref(self, request: _Request, kind: str, name: str, what: str, given: str) -> _Answer:
        repo = self._repo(request, kind, name, write=True)
        refs = repo.tags if what == "tag" else repo.branches
        if refs.pop(given, None) is None:
            raise _refusal(404, f"{what} {given} does not exist", "RevisionNotFound")
        return _json({})


def _entries(files: Mapping[str, Blob], folder: str, *, deep: bool) -> list[dict[str, Any]]:
    """The files and folders under a folder, as the tree endpoint lists them."""
    prefix = f"{folder}/" if folder else ""
    shown: dict[str, dict[str, Any]] = {}
    for path, blob in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        for above in [str(parent) for parent in reversed(Path(path).parents)]:
            if above.startswith(prefix) and above not in (".", folder):
                shown[above] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": above}
        pointer = {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}
        entry = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
        shown[path] = entry | ({"lfs": pointer} if blob.sha256 else {})
    return [entry for path, entry in shown.items() if deep or "/" not in path.removeprefix(prefix)]


def _part(blob: Blob, asked: str, told: Mapping[str, str]) -> _Answer:
    """The file, or the one range of it that was asked for."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
    if not found or not any(found.groups()):
        return _Answer(200, blob.path, told, 0, blob.size)
    first, last = found.groups()
    start = int(first) if first else max(blob.size - int(last), 0)
    stop = min(int(last) + 1, blob.size) if first and last else blob.size
    if start >= blob.size:
        return _Answer(416, b"", {**told, "Content-Range": f"bytes */{blob.size}"})
    where = {"Content-Range": f"bytes {start}-{stop - 1}/{blob.size}"}
    return _Answer(206, blob.path, {**told, **where}, start, stop)


class _Handler(BaseHTTPRequestHandler):
    """Bytes to requests and answers to bytes."""

    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms between its head and its body

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = self._body(headers)
        answer = self.hub.answer(
            _Request(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        )
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for key, value in {**answer.headers, "Content-Length": str(answer.length)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _body(self, headers: Mapping[str, str]) -> bytes | Path:
        """Always read to its end, or the next request on this connection would begin in its middle."""
        chunks = _chunks(self.rfile, headers)
        if self.command != "PUT":
            return b"".join(chunks)
        path = self.hub.spool()
        with path.open("wb") as file:
            file.writelines(chunks)
        return path

    def _send(self, answer: _Answer) -> None:
        if isinstance(answer.body, bytes):
            self.wfile.write(answer.body)
            return
        with answer.body.open("rb") as file:
            file.seek(answer.start)
            for chunk in _pieces(file, answer.length):
                self.wfile.write(chunk)

    def log_message(self, format: str, *args: object) -> None:
        """The server has a log of its own."""


def _chunks(stream: IO[bytes] | BufferedIOBase, headers: Mapping[str, str]) -> Iterator[bytes]:
    if "chunked" not in headers.get("transfer-encoding", ""):
        yield from _pieces(stream, int(headers.get("content-length", 0)))
        return
    while size := int(stream.readline().split(b";")[0], 16):
        yield from _pieces(stream, size)
        stream.readline()
    stream.readline()


def _pieces(stream: IO[bytes] | BufferedIOBase, length: int) -> Iterator[bytes]:
    while length and (piece := stream.read(min(length, 1 << 20))):
        length -= len(piece)
        yield piece
