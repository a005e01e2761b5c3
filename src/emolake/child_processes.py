"""Programs that this process has started, and ends."""

import subprocess


def end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Ask a program to end, and kill it where it has not within so long; one that has ended is left alone."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
