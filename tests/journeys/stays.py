"""A process that does not end by itself."""

import time

print("here", flush=True)
time.sleep(600)
