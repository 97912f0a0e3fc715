"""An SDK for Python that tracks COUNT events for one person: burst.py segment|rudder. RETRIES is its own option for how
often it tries again. Prints how many calls it gave up."""
import importlib
import json
import logging
import os
import sys

logging.disable()  # It says every attempt that failed, which is what it is here for.
given_up = []
module = {"segment": "segment.analytics.client", "rudder": "rudderstack.analytics.client"}[sys.argv[1]]
options = {"max_retries": int(os.environ["RETRIES"])} if "RETRIES" in os.environ else {}
analytics = importlib.import_module(module).Client(
    os.environ["WRITE_KEY"],
    host="http://" + os.environ["DOOR"],
    on_error=lambda error, items: given_up.extend(items),
    gzip=True,
    upload_size=5,
    **options,
)
for number in range(int(os.environ["COUNT"])):
    analytics.track(os.environ["PERSON"], f"B{number}")
analytics.flush()
analytics.shutdown()
print(json.dumps({"given_up": len(given_up)}))
