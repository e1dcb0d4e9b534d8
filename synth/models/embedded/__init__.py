"""A language model that runs on this machine, without a key and without a network.

`weights` finds and fetches the files, `child` is the process that holds a model, and two such processes
use it: `llama` generates through llama.cpp, `scorer` scores and generates through transformers. A crash
or a leak in native code then costs a call, and no thread pool of theirs is ever forked or shared.

Both sample alike. What a request leaves open is set here rather than by either library, because it
changes the answers: it is a part of the endpoint's identity.
"""

from typing import Final

DEFAULT_TEMPERATURE: Final = 0.8
DEFAULT_TOP_P: Final = 0.95
TOP_K: Final = 40
MIN_P: Final = 0.05

SETTINGS: Final = (
    f"temperature={DEFAULT_TEMPERATURE},top_p={DEFAULT_TOP_P},top_k={TOP_K},min_p={MIN_P},score=float32"
)
