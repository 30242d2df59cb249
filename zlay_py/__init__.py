"""An AT Protocol relay on gevent. See docs/architecture.md for the tree.

Two variables are set here, before any library can read them: libraries written in Rust record a stack trace with every
error when `RUST_BACKTRACE` asks for it, and walking the stack of a greenlet crashes the process. One malformed frame
from a host would be enough.
"""

import os

__version__ = "0.1.0"

os.environ["RUST_BACKTRACE"] = os.environ["RUST_LIB_BACKTRACE"] = "0"
