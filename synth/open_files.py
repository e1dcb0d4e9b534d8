"""How many files and connections this process may have open at once.

A shell's usual 1,024, or 256, is less than a pipeline may ask for; a process may raise it by itself, up to
the hard limit that the system's owner set.
"""

from synth.errors import UserError

OTHERS = 128  # what is open besides connections to providers: databases, the version's tables, libraries


def make_room(connections: int) -> None:
    """Have it allowed to open so many connections, besides the rest.

    Raises:
        UserError: the system does not allow it.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS: a limit that is said to be none, and is one
        allowed = soft
    if allowed < wanted:
        raise UserError(
            f"max_concurrency of all models together is {connections:,}, which takes {wanted:,} open files, "
            f"and this process may have {allowed:,}. Lower max_concurrency, or raise the limit: "
            f"ulimit -n {wanted}"
        )
