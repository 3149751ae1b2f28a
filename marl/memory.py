"""How much memory there is: large things say how much they need before they take it."""

from pathlib import Path

LIMITS = (  # of a container: the most, and what is taken
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> float:
    """Bytes that can still be taken; infinity where the system does not tell."""
    found = [float("inf")]
    try:
        told = Path("/proc/meminfo").read_text("utf-8")
        found.append(1024.0 * int(told.partition("MemAvailable:")[2].split()[0]))
    except (OSError, ValueError, IndexError):
        pass
    for most, taken in LIMITS:
        try:
            found.append(float(Path(most).read_text()) - float(Path(taken).read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return min(found)


def shortage(needed: float) -> str:
    """The end of a sentence where so many bytes are not available; empty where they are."""
    there = available()
    if needed <= there:
        return ""
    return f"needs {needed / 1e9:.1f} GB of memory; {max(there, 0.0) / 1e9:.1f} GB are available"
