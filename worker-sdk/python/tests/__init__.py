"""The tests of the SDK; see the README for how to run them."""

import logging

# Tests run with asyncio's debugging, which tells of everything that takes a while, also on a busy machine.
logging.getLogger("asyncio").setLevel(logging.ERROR)
logging.getLogger("nats").setLevel(logging.CRITICAL)
