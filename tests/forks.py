"""Python processes that need no seconds to begin, for tests in which a process works, stops or is
killed, and not how it begins.

They are forks of a server that has imported everything (`preloaded`) and that starts with the first
of them. Like any process they have the environment, the folder and the limit on files of whoever
starts them. This module can take the place of `subprocess` where that starts Python.
"""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
import threading
from multiprocessing import context, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, TimeoutExpired

multiprocessing.get_context("forkserver").set_forkserver_preload(["preloaded"])
STARTING = threading.Lock()
STARTED: list["Popen"] = []


def use(patch) -> None:
    """Let the processes of sweeps, studies and benchmarks be forks, by patch(object, name, value),
    and let runs end without a drawing of their curve, which takes longer than a tiny training."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import commands

    import marl.studies.processes
    import marl.sweeps.runner
    import marl.training.loop

    for module in (marl.sweeps.runner, commands):
        patch(module, "subprocess", sys.modules[__name__])
    patch(marl.studies.processes, "get_context", lambda _: started())
    patch(marl.training.loop, "plot_run", _blank)


def _blank(name: str, solved_at: float | None = None) -> None:
    from marl.runs.run import Run

    (Run(name).stats / "curve.png").touch()


class Process(context.ForkServerProcess):
    """A fork that takes over what a process takes over from the one that starts it."""

    def __init__(self, *arguments, environment=None, **options) -> None:
        super().__init__(*arguments, **options)
        self.environment = dict(os.environ if environment is None else environment)
        self.folder, self.limit = os.getcwd(), resource.getrlimit(resource.RLIMIT_FSIZE)

    def run(self) -> None:
        # It knows the server and need not start one for forks of its own.
        forkserver._forkserver.ensure_running = lambda: None
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limit)
        use(setattr)
        super().run()


class Context(context.ForkServerContext):
    """For an executor whose processes are forks."""

    Process = Process


CONTEXT = Context()


def started() -> Context:
    """The context of processes that are forks; their server is there."""
    with STARTING:
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        try:
            forkserver._forkserver.ensure_running()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
    return CONTEXT


class Popen:
    """A process as subprocess.Popen starts it in text mode, of the command
    [python, (-P,) -m MODULE or -c CODE or FILE, *arguments]."""

    def __init__(
        self, command, stdin=None, stdout=None, stderr=None, env=None, start_new_session=False,
        text=True,
    ) -> None:  # fmt: skip
        self.args, self._texts, self._readers = command, {}, []
        theirs = []
        for fd, (name, wanted) in enumerate(
            [("stdin", stdin), ("stdout", stdout), ("stderr", stderr)]
        ):
            ours = None
            if wanted == PIPE:
                ends = os.pipe()
                ours = os.fdopen(ends[fd == 0], "r" if fd else "w")
                end = ends[fd != 0]
            else:
                end = os.open(os.devnull, os.O_RDWR) if wanted == DEVNULL else os.dup(fd)
            setattr(self, name, ours)
            theirs.append(Connection(end))
        rest = [str(word) for word in command[1:] if word != "-P"]
        self._process = started().Process(
            target=_become, args=(rest, theirs, start_new_session), environment=env
        )
        self._process.start()
        self.pid = self._process.pid
        STARTED.append(self)
        for connection in theirs:
            connection.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout=None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None) -> tuple[str | None, str | None]:
        if self.stdin:
            self.stdin.close()
        if not self._readers:
            for name, file in (("stdout", self.stdout), ("stderr", self.stderr)):
                if file:
                    self._readers.append(threading.Thread(target=self._read, args=(name, file)))
                    self._readers[-1].start()
        self.wait(timeout)
        for reader in self._readers:
            reader.join()
        return self._texts.get("stdout"), self._texts.get("stderr")

    def _read(self, name, file) -> None:
        with file:
            self._texts[name] = file.read()


def running() -> list[Popen]:
    """The forks that this process has started and that have not ended."""
    return [process for process in STARTED if process.poll() is None]


def run(command, env=None, capture_output=True, text=True) -> CompletedProcess:
    """As subprocess.run with these flags."""
    process = Popen(command, stdout=PIPE, stderr=PIPE, env=env)
    output, errors = process.communicate()
    return CompletedProcess(command, process.returncode, output, errors)


def _become(words, connections, start_new_session) -> None:
    """Do in a fork what the Python command does."""
    if start_new_session:
        os.setsid()
    for fd, connection in enumerate(connections):
        os.dup2(connection.fileno(), fd)
        connection.close()
    sys.stdin, sys.stdout, sys.stderr = (
        open(fd, mode, closefd=False)  # noqa: SIM115
        for fd, mode in enumerate(("r", "w", "w"))
    )
    kind, *arguments = words
    if kind == "-c":
        code, *arguments = arguments
        sys.argv, sys.path[:0] = ["-c", *arguments], [os.getcwd()]
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        module, *arguments = arguments
        sys.argv, sys.path[:0] = [module, *arguments], [os.getcwd()]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[:0] = words, [str(Path(kind).parent)]
        runpy.run_path(kind, run_name="__main__")
