"""The runs of a sweep on a Ray cluster: `marl sweep FILE.json --ray [ADDRESS]`.

Every batch of runs is an actor with one CPU. It starts the same process as a sweep on one machine
and passes on its answers. So runs have the same bytes, and save when they are stopped. Runs are
written to the folder of the sweep's machine: all machines must share it.
"""

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from marl.errors import UserError
from marl.folders import data_root
from marl.sweeps.runner import POLL, Processes

try:
    import ray
    from ray.exceptions import RayError
except ImportError as error:
    raise UserError("--ray needs Ray: pip install 'marl[ray]'") from error

TIMEOUT = 10  # seconds, for a cluster to answer at all


class RayRunner:
    """Trains the runs of the sweep in `folder` on the cluster that this process has joined."""

    def __init__(self, folder: Path) -> None:
        self._places = str(data_root().resolve()), str(folder.resolve()), os.getcwd()
        self._stopped = threading.Event()
        remote: Any = ray.remote  # whose types do not know all of its options
        self._actors = remote(num_cpus=1, max_concurrency=2)(_Actor)  # `stop` while it trains

    def train(self, configs: dict[str, Any]) -> dict[str, str]:
        """See `marl.sweeps.runner.Runner`."""
        actor = self._actors.remote(*self._places)
        begun, failures = actor.begin.remote(), actor.train.remote(configs)
        try:
            while not ray.wait([failures], timeout=POLL)[0]:
                if not self._stopped.is_set():
                    continue
                if ray.wait([begun], timeout=0)[0]:
                    ray.get(actor.stop.remote())
                else:
                    ray.kill(actor)  # it still waits for a CPU
            return ray.get(failures)
        except RayError as error:
            cause = str(error).splitlines()[-1].split(". ")[0]
            return dict.fromkeys(configs, f"its Ray worker failed: {cause}")
        finally:
            ray.kill(actor)

    def stop(self) -> None:
        """See `marl.sweeps.runner.Runner`."""
        self._stopped.set()


class _Actor:
    """One batch of runs, on any machine of the cluster."""

    def __init__(self, root: str, folder: str, here: str) -> None:
        self._processes = Processes()
        self._root, self._folder = root, Path(folder)
        os.environ["MARL_DATA"] = root
        if Path(here).is_dir():
            os.chdir(here)  # scenarios of one's own are found there

    def begin(self) -> None:
        """Returns as soon as there is a CPU for this actor."""

    def train(self, configs: dict[str, Any]) -> dict[str, str]:
        if not (self._folder / "sweep.json").exists():
            reason = f"{socket.gethostname()} does not share the folder {self._root}"
            return dict.fromkeys(configs, reason)
        try:
            return self._processes.train(configs)
        finally:
            self._processes.stop()

    def stop(self) -> None:
        self._processes.stop()


@contextmanager
def joined(address: str, workers: int | None, folder: Path) -> Iterator[tuple[RayRunner, int]]:
    """A runner for the sweep in `folder`, and the number of CPUs.

    `address` is HOST:PORT or ray://HOST:PORT. An empty one means RAY_ADDRESS or, without that, a
    Ray with `workers` CPUs on this machine, which ends with the block. Raises UserError if the
    cluster cannot be joined.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    with TemporaryDirectory(prefix="marl-ray-", ignore_cleanup_errors=True) as temporary:
        empty = Path(temporary, "empty")  # Ray's workers would import from the current folder first
        empty.mkdir()
        try:
            if address == "local":
                # Ray lets in only who has a token. Without one it would write one to the home
                # folder and leave it there; ours ends with us.
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
                options |= {
                    "num_cpus": workers,
                    "include_dashboard": False,
                    "object_store_memory": 80 * 2**20,  # bytes, about the least: we send little
                    "_temp_dir": temporary,
                }
            else:
                _check_reachable(address)
            with chdir(empty):
                ray.init(address, **options)
        except Exception as error:  # Ray raises errors of many kinds
            reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
            raise UserError(f"cannot use Ray at {address}: {reason.splitlines()[0]}") from error
        try:
            yield RayRunner(folder), int(ray.cluster_resources().get("CPU", 0)) or 1
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at the address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("the address should be HOST:PORT or ray://HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()
