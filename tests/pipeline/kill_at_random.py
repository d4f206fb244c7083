"""Kill tiny studies at random moments; each must then finish with the bytes of an undisturbed one.

python tests/pipeline/kill_at_random.py --kills 20 --seed 0
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from study import Run, Study


def start(study: Study) -> subprocess.Popen[bytes]:
    """Start the study in a new session."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", "report"],
        cwd=study.root,
        env=study.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL Snakemake and every job it has started."""
    parent = psutil.Process(process.pid)
    for victim in [parent, *parent.children(recursive=True)]:
        victim.kill()
    process.wait()


def kill_one_job(process: subprocess.Popen[bytes], patience_seconds: float = 60) -> bool:
    """SIGKILL one running script and wait for Snakemake to exit; returns whether there was one."""
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until and process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            if ".snakemake/scripts" in " ".join(child.cmdline()):
                child.kill()
                process.wait()
                return True
        time.sleep(0.02)
    process.wait()
    return False


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Send SIGINT to Snakemake and its jobs, as Ctrl-C does."""
    parent = psutil.Process(process.pid)
    for victim in [*parent.children(recursive=True), parent]:
        victim.send_signal(signal.SIGINT)
    process.wait()


def finish(study: Study) -> Run:
    """The commands that the README gives for after a kill."""
    study.snakemake("--unlock")
    return study.snakemake("--cores", "2", "report")


def main() -> int:
    """Kill as often as requested; returns the number of runs with different results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Study.create(Path(folder) / "undisturbed")
        began = time.monotonic()
        assert undisturbed.snakemake("--cores", "2", "report").code == 0
        duration = time.monotonic() - began
        for number in range(1, options.kills + 1):
            study = Study.create(Path(folder) / f"killed-{number}")
            moment = moments.uniform(0, duration)
            process = start(study)
            time.sleep(moment)
            kill_all(process)
            run = finish(study)
            differing = sorted(
                file for file, _ in set(study.hashes().items()) ^ set(undisturbed.hashes().items())
            )
            failures += run.code != 0 or bool(differing)
            verdict = f"DIFFERENT: {', '.join(dict.fromkeys(differing))}" if differing else "same"
            print(f"{number:3} killed after {moment:5.1f} s: {verdict}")
            if run.code != 0:
                print(run.output)
    print(f"{options.kills - failures} of {options.kills} came out the same")
    return failures


if __name__ == "__main__":
    sys.exit(main())
