"""The command line: parse, call, print. Flags bear the names of the estimators' parameters."""

from __future__ import annotations

import sys
import warnings

import cyclopts
from sklearn.exceptions import ConvergenceWarning

from layerwise.cli import experiments, models, training  # noqa: F401 - their commands register themselves
from layerwise.cli.common import app, fail

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; refusals are one sentence and exit code 2, Ctrl-C is 130."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # the progress display says why each stage ended
    try:
        app.meta(sys.argv[1:], exit_on_error=False, print_error=False)
    except KeyboardInterrupt as interrupt:
        fail(str(interrupt) or "interrupted; nothing was written", 130)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
    except cyclopts.CycloptsError as error:
        fail(f"{' '.join(str(error).split())} (see layerwise --help)", 2)
    except OSError as error:
        fail(f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error), 2)
    except (ValueError, FloatingPointError, ImportError) as error:
        fail(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        fail("there is not enough memory for this; use fewer rows or smaller layers", 2)
