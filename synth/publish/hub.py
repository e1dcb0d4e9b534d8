"""A dataset version on the Hub: one commit, and a tag that is named after the version.

    load_dataset("ORG/NAME", "preference", revision="v3-0a1b2c3d4e5f")

Whoever reads the repository sees the former version or the new one and nothing between them:
the files go up first, then one commit, with the head that was seen as its parent, adds what is new and
deletes what is left over. Every try starts from a fresh look at the head, so that a commit whose
answer was lost is found and not made twice.

`huggingface_hub` reads its environment when it is first imported: HF_ENDPOINT for a private Hub,
HF_TOKEN, and HF_HUB_DISABLE_XET=1 for an endpoint without xet storage, where the client would
otherwise fail instead of falling back. Nothing here sets them.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from synth.errors import ProviderError, StorageError, SynthError, UserError
from synth.publish.snapshot import FOLDERS, Snapshot, read_snapshot

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 4
PATIENCE_S = 120.0  # some requests the client tries again by itself, for half a minute each time
MOST_PATIENCE_S = 300.0  # the Hub counts its rate limits in windows of five minutes
PASSING = frozenset({408, 429, 500, 502, 503, 504})
SOMEBODY_WAS_FASTER = 412

# Two parts of letters, digits and .-_ that start and end with no dot or dash, without "--" and "..".
_PART = r"(?![.-])(?:(?!--|\.\.)[A-Za-z0-9._-])+(?<![.-])"
_NAME = re.compile(f"{_PART}/{_PART}(?<!\\.git)")
_EXHAUSTED = re.compile(r"\br=0\b[^,]*\bt=(\d+)")

_log = logging.getLogger(__name__)
_backoff_s = wait_exponential(multiplier=0.5, max=20) + wait_random(0, 0.5)


@dataclass(frozen=True, slots=True)
class Published:
    """Where a version is.

    `commit` holds its files ("" after a dry run); `uploaded` says whether this call put them there.
    """

    repo: str
    url: str
    commit: str
    tag: str
    files: tuple[str, ...]
    uploaded: bool


def publish(version: Path, repo: str, *, private: bool = True, dry_run: bool = False) -> Published:
    """Push the version in this folder to the dataset repository `repo` ("ORG/NAME").

    The repository is made if it is not there; `private` holds for a new one. A version that is
    there already, at its tag or at the head, is not committed again. A tag never moves: it stays where
    its version was first published, even if the card has changed since. A dry run reads the
    folder, makes no request and needs no token.

    Raises:
        UserError: the folder is no whole version, the name is no ORG/NAME, nobody is logged in, the
            card's metadata is refused, or `private` was asked for and the repository is public.
        ProviderError: the Hub refuses, or cannot be reached after a few tries.
    """
    snapshot = read_snapshot(version)
    _check_name(repo)
    from huggingface_hub import HfApi, constants, get_token

    url = f"{constants.ENDPOINT}/datasets/{repo}"
    commit, uploaded = "", False
    if not dry_run:
        token = get_token()
        if not token:
            raise UserError("not logged in to the Hub: run `hf auth login`, or set HF_TOKEN")
        with _plain_errors(repo, token):
            commit, uploaded = _push(_Repository(HfApi(token=token), repo), snapshot, private)
    return Published(repo, url, commit, snapshot.version, tuple(snapshot.digests), uploaded)


def _check_name(repo: str) -> None:
    if not _NAME.fullmatch(repo) or len(repo) > 96:
        raise UserError(f"publish.repo: expected ORG/NAME, as in 'me/harmless-assistant', found {repo!r}")


class _Repository:
    """A dataset repository on the Hub, as far as publishing needs it. No method tries twice."""

    def __init__(self, api: "HfApi", repo: str) -> None:
        self.api = api
        self.repo = repo

    def make(self, private: bool) -> None:
        self.api.create_repo(self.repo, private=private, repo_type="dataset", exist_ok=True)
        # An existing repository keeps its visibility: rows that were to stay private must not go there.
        if private and self.api.dataset_info(self.repo).private is False:
            raise UserError(
                f"publish.private: {self.repo} exists and is public. Make it private on the Hub, "
                "or say that this version may be public."
            )

    def head(self) -> str | None:
        return self.api.dataset_info(self.repo).sha

    def tags(self) -> dict[str, str]:
        refs = self.api.list_repo_refs(self.repo, repo_type="dataset")
        return {tag.name: tag.target_commit for tag in refs.tags}

    def tag(self, name: str, commit: str) -> None:
        self.api.create_tag(self.repo, tag=name, revision=commit, repo_type="dataset", exist_ok=True)

    def differences(self, snapshot: Snapshot, commit: str | None) -> tuple[list[str], list[str]]:
        """What the commit lacks or holds with other bytes, and what it holds that is left over."""
        there = self._files(commit) if commit else {}
        lacking = [path for path in snapshot.digests if not _same(snapshot, path, there.get(path))]
        left_over = [path for path in there if path.startswith(FOLDERS) and path not in snapshot.digests]
        return lacking, left_over

    def holds(self, snapshot: Snapshot, commit: str) -> bool:
        return self.differences(snapshot, commit) == ([], [])

    def commit(self, snapshot: Snapshot) -> str:
        """Make the head hold the snapshot. Returns the commit that does."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        head = self.head()
        lacking, left_over = self.differences(snapshot, head)
        if head and not lacking and not left_over:
            return head
        # Operations remember what the head was when they were sent, so every try makes new ones.
        info = self.api.create_commit(
            self.repo,
            [
                *(CommitOperationAdd(path, snapshot.folder / path) for path in lacking),
                *(CommitOperationDelete(path, is_folder=False) for path in left_over),
            ],
            commit_message=f"Publish {snapshot.name} {snapshot.version}",
            repo_type="dataset",
            parent_commit=head,
        )
        return info.oid

    def _files(self, commit: str) -> dict[str, "RepoFile"]:
        from huggingface_hub import RepoFile

        tree = self.api.list_repo_tree(self.repo, recursive=True, revision=commit, repo_type="dataset")
        return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _same(snapshot: Snapshot, path: str, there: "RepoFile | None") -> bool:
    """Whether the Hub's file has our bytes; it names large files by SHA-256, small ones as git does."""
    if there is None:
        return False
    if there.lfs is not None:
        return there.lfs.sha256 == snapshot.digests[path]
    content = (snapshot.folder / path).read_bytes()
    return there.blob_id == sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _push(hub: _Repository, snapshot: Snapshot, private: bool) -> tuple[str, bool]:
    """Returns the commit that holds the snapshot, and whether it had to be made."""
    _patiently(hub.make, private)
    tags = _patiently(hub.tags)
    seen = (tags.get(snapshot.version), _patiently(hub.head))
    there = next((commit for commit in seen if commit and hub.holds(snapshot, commit)), None)
    commit = there or _patiently(_commit, hub, snapshot)
    # The Hub leaves out what the repository's .gitignore names, without a word.
    if not there and not hub.holds(snapshot, commit):
        raise ProviderError(f"{hub.repo} took the commit but not all of its files; is there a .gitignore?")
    if snapshot.version not in tags:
        _patiently(hub.tag, snapshot.version, commit)
    return commit, not there


def _commit(hub: _Repository, snapshot: Snapshot) -> str:
    """A race that is lost once is run once more, from the new head."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return hub.commit(snapshot)
    except HfHubHTTPError as error:
        if _status(error) != SOMEBODY_WAS_FASTER:
            raise
        return hub.commit(snapshot)


def _patiently(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Try again what may pass. The client does so itself when it lists files, but for no commit or tag."""
    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(TRIES) | stop_after_delay(PATIENCE_S),
        wait=_pause_s,
        before_sleep=_say,
        reraise=True,
    )
    return retrying(call, *args, **kwargs)


def _may_pass(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status in PASSING
    # Not JSON: a gateway answered in the Hub's place, with a page of HTML.
    return isinstance(_cause(error), (_http_error(), json.JSONDecodeError))


def _http_error() -> type[Exception]:
    """What failed connections raise. The client changed its HTTP library between releases."""
    from huggingface_hub import errors

    return errors.HTTPError  # type: ignore[attr-defined]


def _cause(error: BaseException) -> BaseException:
    """The client wraps what went wrong with one file of many."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    response = getattr(_cause(error), "response", None)
    return None if response is None else int(response.status_code)


def _pause_s(state: RetryCallState) -> float:
    """Longer after every try, and never shorter than the Hub asks for."""
    error = state.outcome.exception() if state.outcome else None
    response = getattr(_cause(error), "response", None) if error else None
    asked_s = 0.0
    if response is not None:
        after = response.headers.get("retry-after", "")
        window = _EXHAUSTED.search(response.headers.get("ratelimit", ""))
        asked_s = float(after) if after.isdigit() else float(window[1]) + 1 if window else 0.0
    return max(_backoff_s(state), min(asked_s, MOST_PATIENCE_S))


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    what = (_status(error) or type(_cause(error)).__name__) if error else "nothing"
    _log.warning("the Hub answered %s; trying again in %.0f s", what, state.upcoming_sleep)


@contextmanager
def _plain_errors(repo: str, token: str) -> Iterator[None]:
    """One sentence for whatever the client raises.

    The client's own errors are not chained: they hold the request with its token, and signed URLs.
    """
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise UserError("cannot publish offline: HF_HUB_OFFLINE is set") from None
    except (_http_error(), OSError, RuntimeError, ValueError) as error:
        raise _told(_cause(error), repo, token) from None


def _told(error: BaseException, repo: str, token: str) -> SynthError:
    # Without the signatures of signed URLs, and without the token, wherever a server repeats it.
    sentence = re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", _sentence(error, repo)).replace(token, "[token]")
    sentence = " ".join(sentence.split())
    if "Invalid metadata in README.md" in sentence:
        return UserError(sentence)
    if isinstance(error, OSError) and error.filename:
        return StorageError(sentence)
    return ProviderError(sentence)


def _sentence(error: BaseException, repo: str) -> str:
    from huggingface_hub import constants

    status = _status(error)
    if status is not None:
        said = getattr(error, "server_message", None)
        return f"{repo}: {_hint(status, repo)} ({said or f'status {status}'})"
    if isinstance(error, _http_error()):
        return f"{repo}: cannot reach {constants.ENDPOINT} ({type(error).__name__}: {error})"
    if "xet" in str(error):
        return f"{repo}: {error}. An endpoint without xet storage needs HF_HUB_DISABLE_XET=1"
    return f"{repo}: {error}"


def _hint(status: int, repo: str) -> str:
    if status in PASSING:
        return (
            f"the Hub still answers {status} after several tries. Nothing is half done; publish again later"
        )
    hints = {
        401: "the Hub does not know the token. Run `hf auth login`, or set HF_TOKEN to one that may write",
        403: f"the token may not write here. Take one with write access to {repo.split('/')[0]!r}",
        404: "the Hub does not show this repository to the token",
        SOMEBODY_WAS_FASTER: "somebody else is committing to it at the same time. Publish again",
    }
    return hints.get(status, f"the Hub answered {status}")
