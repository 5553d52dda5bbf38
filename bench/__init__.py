"""What the tool costs in time and in calls. Figures, not tests: nothing fails because a machine is slow."""

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "functional")]  # the lab in virtual time is the tests'
