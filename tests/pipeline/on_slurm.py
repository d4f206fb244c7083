"""Run a tiny study on a Slurm of one host, started for it; the bytes must equal a local run's.

Needs root, and Debian's packages slurm-wlm and munge, which it installs if they are missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from study import Run, Study

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
ON_SLURM = (
    *("--workflow-profile", "profiles/slurm"),
    *("--slurm-status-command", "squeue"),  # sacct needs accounting
    # Most jobs take 7 to 11 s here, and a check that finds none done delays the next check.
    *("--slurm-init-seconds-before-status-checks", "12"),
)
# Slurm's default. The plugin's jobs do not pass SLURM_CONF on to the processes they start.
CONF = Path("/etc/slurm/slurm.conf")
SLURM_CONF = """
ClusterName=minituner
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
# Cores and memory are both allocated, so that the rules' requests matter: as much as is written
# here, whatever the host has.
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000
PartitionName=all Nodes=ALL Default=YES
"""


def install() -> None:
    """Install Debian's packages, unless every program exists."""
    if all(shutil.which(program) for program in PROGRAMS):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        subprocess.run(["apt-get", "--quiet", *command], env=environment, check=True)


def wait_until(ready: Callable[[], bool], what: str, patience_seconds: float = 30) -> None:
    """Poll until ``ready``; TimeoutError after ``patience_seconds``."""
    until = time.monotonic() + patience_seconds
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.2)


def output_of(*command: str) -> str:
    """The output of a Slurm command; empty while it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def daemon(log: Path, *command: str) -> Iterator[None]:
    """A daemon that stays a child process, so that exactly this one is stopped, by its id."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield
    except BaseException:
        print(log.read_text(errors="replace"), file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def configured(folder: Path) -> Iterator[None]:
    """The cluster's slurm.conf in Slurm's default place; an existing one is never replaced."""
    text = SLURM_CONF.format(host=os.uname().nodename.split(".")[0], folder=folder)
    with CONF.open("x") as stream:
        stream.write(text)
    try:
        yield
    finally:
        CONF.unlink()


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A cluster of only this host; its keys, socket, state and logs are all in ``folder``."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    with ExitStack() as running:
        running.enter_context(configured(folder))
        running.enter_context(
            daemon(
                folder / "munged.log",
                *("munged", "--foreground", f"--key-file={key}"),
                f"--socket={folder}/munge.socket",
                f"--pid-file={folder}/munged.pid",
                f"--seed-file={folder}/munged.seed",
            )
        )
        wait_until((folder / "munge.socket").exists, "munged does not answer")
        running.enter_context(daemon(folder / "slurmctld.log", "slurmctld", "-D"))
        running.enter_context(daemon(folder / "slurmd.log", "slurmd", "-D"))
        wait_until(
            lambda: "idle" in output_of("sinfo", "--noheader", "--format=%T"), "no idle node"
        )
        try:
            yield
        finally:  # whatever still runs was started here: nobody else uses this cluster
            output_of("scancel", "--user=root")
            wait_until(lambda: not output_of("squeue", "--noheader").strip(), "a job does not end")


def tiny_study(root: Path) -> Study:
    """A tiny study with two threads for pretraining, to see that they are requested."""
    study = Study.create(root)
    study.write_config({**study.config, "threads": {**study.config["threads"], "pretrain": 2}})
    return study


def finish(study: Study, *arguments: str) -> Run:
    """Run the study to its end, and print how long it took."""
    began = time.monotonic()
    run = study.snakemake(*arguments, "report")
    if run.code != 0:
        logs = sorted((study.root / ".snakemake/slurm_logs").rglob("*.log"))
        raise RuntimeError("\n".join([run.output, *(log.read_text() for log in logs)]))
    print(f"{len(run.jobs)} jobs in {time.monotonic() - began:.0f} s: {' '.join(arguments)}")
    return run


def main() -> int:
    """Compare the two runs; returns the number of files that differ."""
    install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # munged refuses a socket that is not reachable by everyone
        local, remote = tiny_study(folder / "local"), tiny_study(folder / "remote")
        finish(local, "--cores", "2")
        (folder / "slurm").mkdir()
        with slurm(folder / "slurm"):
            run = finish(remote, *ON_SLURM)
            print(output_of("squeue", "--states=all", "--sort=i", "--format=%40k %4C %8m %8l %T"))
        submitted = len(re.findall("has been submitted with SLURM jobid", run.output))
        assert submitted == len(run.jobs) - 1, run.output  # all except `report`, which does nothing
        ours, theirs = local.hashes(), remote.hashes()
    differing = sorted({file for file, _ in ours.items() ^ theirs.items()})
    print(f"{submitted} jobs went through Slurm; {len(ours.keys() & theirs.keys())} files compared")
    print(f"DIFFERENT: {', '.join(differing)}" if differing else "all the same, byte for byte")
    return len(differing)


if __name__ == "__main__":
    sys.exit(main())
