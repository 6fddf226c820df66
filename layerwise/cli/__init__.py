"""The command line: parse, call, print. Flags bear the names of the estimators' parameters."""

from __future__ import annotations

import os
import sys
import warnings

import cyclopts

from layerwise.cli.common import answering, app, describe_os_error, fail, leave_output, open_streams, printable
from layerwise.errors import PeerError
from layerwise.interruption import TERMINATED, ending_by_signals

__all__ = ["app", "main"]

# Name, home and purpose of each command. A home is imported when its command is called: torch takes seconds.
_COMMANDS = {
    "demo": ("starting:demo", "Train on handwritten digits that come with layerwise."),
    "init": ("starting:init", "Write a commented run.toml for a file of data."),
    "fit": ("training:fit", "Train a model: autoencoders, a classifier, a regressor or an outlier detector."),
    "encode": ("models:encode", "Write the codes of rows."),
    "decode": ("models:decode", "Write what codes stand for."),
    "reconstruct": ("models:reconstruct", "Write rows as the model reconstructs them."),
    "impute": ("models:impute", "Write rows with their missing numbers filled in."),
    "predict": ("models:predict", "Write a label, a value, or whether it is an outlier, for each row."),
    "score": ("models:score", "Write how unusual each row is, and in which features."),
    "evaluate": ("evaluating:evaluate", "Measure a model on rows, with labels if there are."),
    "inspect": ("sharing:inspect", "Tell what is in the folder of a model."),
    "report": ("sharing:report", "Write the page of a run: curves, filters, codes, mistakes."),
    "export": ("sharing:export", "Write a model as ONNX, or as a program of NumPy or MATLAB that stands alone."),
    "compare": ("comparing:compare_command", "Train with and without pre-training, and tell whether it helps."),
    "reproduce": ("experiments:reproduce_app", "Run a published experiment, and show published beside obtained."),
    "check-gradient": ("comparing:check_gradient_command", "Compare the gradient of a training with differences."),
}
for _place, (_name, (_home, _purpose)) in enumerate(_COMMANDS.items()):
    app.command(f"layerwise.cli.{_home}", name=_name, help=_purpose, sort_key=_place)
app.register_install_completion_command(name="--install-completion")


# How often an idle thread of GNU OpenMP, which torch uses on Linux, looks for work before it sleeps. By default it does
# so for milliseconds; where others use the cores too, that takes the time of the thread it waits for.
_SPINS = "10000"


def main() -> None:
    """Run the command line; refusals are one sentence and exit code 2, Ctrl-C is 130, SIGTERM is 143."""
    open_streams()
    warnings.showwarning = _show_warning
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    try:
        with ending_by_signals(), answering():
            _show_docstring(sys.argv[1:])
            app.meta(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt as interrupt:
        fail(_describe_end(interrupt, "interrupted"), 130)
    except SystemExit as exit_:
        if exit_.code != TERMINATED:
            raise
        fail(_describe_end(exit_, "terminated"), TERMINATED)
    except BrokenPipeError:  # the reader of our output has seen enough
        leave_output()
    except cyclopts.CycloptsError as error:
        called = next((f"{word} " for word in sys.argv[1:] if word in _COMMANDS), "")
        words = " ".join(str(error).split())
        if any(map(os.path.exists, getattr(error, "unused_tokens", None) or ())):
            words = f"{words.rstrip('.')}; several files of data are one pattern in quotes: 'part-*.csv'"
        fail(f"{words} (see layerwise {called}--help)", 2)
    except OSError as error:
        fail(describe_os_error(error), 2)
    except PeerError:  # the process that came upon it says so
        sys.exit(2)
    except (ValueError, FloatingPointError, ImportError) as error:
        fail(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        fail("there is not enough memory for this; use fewer rows or smaller layers", 2)


def _describe_end(end: BaseException, word: str) -> str:
    """Return what a signal has ended, and what becomes of it."""
    return "; ".join([str(end) or word, *getattr(end, "__notes__", ["nothing was written"])])


def _show_docstring(words: list[str]) -> None:
    """Let the command that is called have its whole docstring as its page of help, not its line in the list."""
    called = next((app[word] for word in words if word in _COMMANDS), None)
    if called is not None and called.default_command is not None:
        called.help = None


def _show_warning(message: Warning | str, *place: object, **more: object) -> None:
    """Show a warning as one sentence, without the line of code that it comes from."""
    print(f"layerwise: warning: {printable(' '.join(str(message).split()))}", file=sys.stderr)
