"""``python -m synth.models.embedded.llama``: a GGUF file behind llama.cpp's own HTTP server.

A process of its own because a bad parameter aborts llama.cpp, and because it ends when its standard
input does. The first line of that input carries the key that every request must show, so that no other
user of the machine can use the server; one line of output says where it listens.
"""

import argparse
import os
import sys
from typing import Any

import orjson

from synth.models.embedded import DEFAULT_TEMPERATURE, DEFAULT_TOP_P, MIN_P, TOP_K
from synth.models.embedded.child import private_stdout, send

_ERRORS_ONLY = 1


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    out = private_stdout()
    hello = orjson.loads(sys.stdin.buffer.readline() or b"{}")
    server = _serve(options, hello["api_key"])
    address = server.listening_address
    if not address.startswith("http://127.0.0.1:"):
        sys.exit(f"llama.cpp listens on {address}, not on this machine alone")
    send(out, {"id": hello["id"], "url": address})
    sys.stdin.buffer.read()
    os._exit(0)  # at once: whoever asked for what is still being generated is gone


def _serve(options: argparse.Namespace, api_key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.gguf
    params.model_alias = {options.name}  # else replies would name the path
    params.port = 0
    params.api_keys = [api_key]
    params.verbosity = _ERRORS_ONLY
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context  # llama.cpp divides it among the slots
    params.cache_ram_mib = 0  # else finished prompts are kept in up to 8 GB of memory
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.sampling.temp = DEFAULT_TEMPERATURE
    params.sampling.top_p = DEFAULT_TOP_P
    params.sampling.top_k = TOP_K
    params.sampling.min_p = MIN_P
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
