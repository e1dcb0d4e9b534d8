"""Keys: read from the environment, named in a pipeline, and bound to the host they were made for.

A pipeline file may come from a stranger. One that names another provider's variable beside an
address of its own would carry that key away, so the well-known variables go home or nowhere.
"""

import os
import re

from pydantic import SecretStr

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LITERAL = re.compile(r"(sk|pk|gsk|hf|r8|ghp|xai|pplx|AIza)[-_]?(?=[A-Za-z0-9]*[a-z0-9])[A-Za-z0-9_-]{16,}")
_HOMES = {
    "OPENAI_": "openai.com",
    "ANTHROPIC_": "anthropic.com",
    "HF_": "huggingface.co",
    "HUGGING": "huggingface.co",
    "AWS_": "amazonaws.com",
    "GITHUB_": "github.com",
    "GH_": "github.com",
}


def key_problem(variable: str, host: str) -> str | None:
    """Why the key in `variable` cannot go to `host`, in a sentence that never repeats a key."""
    if not _NAME.fullmatch(variable) or _LITERAL.fullmatch(variable):
        return "expected the name of an environment variable, found what may be a key: do not keep keys here"
    for prefix, home in _HOMES.items():
        if variable.upper().startswith(prefix) and host != home and not host.endswith(f".{home}"):
            return f"{variable} holds a key for {home}: it does not go to {host or 'another host'}"
    key = os.environ.get(variable, "").strip()
    if not key:
        return f"the environment variable {variable} is not set"
    if not (key.isascii() and key.isprintable()) or " " in key:
        return f"the environment variable {variable} holds spaces or control characters: no key has them"
    return None


def read_key(variable: str) -> SecretStr:
    """The key in `variable`, without the line end that files leave; "" if there is none."""
    return SecretStr(os.environ.get(variable, "").strip())
