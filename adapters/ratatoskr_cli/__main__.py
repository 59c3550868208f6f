"""`python -m ratatoskr_cli`: the same as `ratatoskr`."""

import sys

from ratatoskr_cli.main import main

sys.exit(main())
