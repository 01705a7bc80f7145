"""The trips study with twenty of the hundred sites at once: FedBuff's and FedAsync's concurrency
(docs/aggregation.md), and the sites that are drawn for a synchronous round."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import trips  # noqa: E402

FILES = trips.FILES
AT_ONCE = 20


def run(context):
    return trips.run(context, AT_ONCE)


def text(result):
    return [f"**{AT_ONCE} sites at once.** " + trips.text(result)[0], *trips.text(result)[1:]]
