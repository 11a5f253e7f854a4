"""Follows a workspace and remembers how far it has come: LEDGERLINE_URL, LEDGERLINE_API_KEY, and a file."""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

url, key, checkpoint = os.environ["LEDGERLINE_URL"], os.environ["LEDGERLINE_API_KEY"], Path(sys.argv[1])
while True:
    after = checkpoint.read_text() if checkpoint.exists() else "0"
    request = urllib.request.Request(f"{url}/v1/events/stream?after={after}", headers={"X-API-Key": key})  # noqa: S310
    try:
        for line in urllib.request.urlopen(request, timeout=60):  # noqa: S310 - the service that we follow
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                print(event["sequence"], event["type"], event["data"], flush=True)  # here is where the work is done
                checkpoint.with_suffix(".new").write_text(event["sequence"])
                checkpoint.with_suffix(".new").replace(checkpoint)
    except OSError as problem:
        print(problem, file=sys.stderr)
    time.sleep(1)
