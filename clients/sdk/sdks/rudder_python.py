"""rudderstack.analytics: only exactly 200 is success; errors must have a code and a message."""
import os

import rudderstack.analytics as analytics

failures = []
analytics.write_key = os.environ.get("WRITE_KEY", "WK")
analytics.dataPlaneUrl = "http://" + os.environ["DOOR"]
analytics.on_error = lambda error, items: failures.append(error)
analytics.identify("u1", {"email": "A@b.c"})
analytics.track("u1", "Order Completed", {"order_id": "o1", "revenue": 19.99, "currency": "EUR"})
analytics.page(anonymous_id="an1", name="Home")
analytics.screen("u1", name="S")
analytics.group("u1", "g1")
analytics.alias("u1", "u2")
analytics.flush()
analytics.shutdown()
assert not failures, failures
