"""`python -m probe_ext` runs the command `probe`."""

import sys

from probe_ext.cli import main

sys.exit(main())
