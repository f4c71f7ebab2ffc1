"""``python -P -m sightline``: what the supervisor starts, also where no console script is installed.

Without ``-P`` Python puts the current folder before everything else that can be imported; it is taken
away again before anything is.
"""

import os
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    from sightline.cli.main import main

    main()
