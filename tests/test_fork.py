"""A service that loads a model and then forks its workers, or `multiprocessing`: the child must not wait for ever."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("forked.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("how", ["os", "pool"])
def test_models_work_and_learn_in_a_forked_process(how):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.communicate(timeout=120)[0] == "done\n"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)  # its children too
    assert process.returncode == 0
