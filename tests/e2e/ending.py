"""How a driver of whole-program cases ends. outcomes: "passed", "failed" or "skipped", one for each case."""
import shutil
import sys


def clear(work, outcomes, keep=False):
    """Removes the working folder unless a case failed, none was tried, or it is to be kept."""
    if not keep and outcomes and "failed" not in outcomes:
        shutil.rmtree(work, ignore_errors=True)


def leave(outcomes):
    """Prints the counts and ends the program."""
    failed = outcomes.count("failed")
    print(f"{outcomes.count('passed')} passed, {failed} failed, {outcomes.count('skipped')} skipped")
    sys.exit(1 if failed else 0)
