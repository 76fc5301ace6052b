"""`python -m harness`."""

import sys

# Python puts the working directory first: a random.py in it would be taken for Python's own by all that is imported from here on.
# A types.py stops `python -m` before it comes here, whatever it is to run; the command `harness` it does not
if not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

from harness.cli import main

if __name__ == "__main__":
    sys.exit(main())
