"""One GET by httpx to the URL in the arguments; its answer to stdout."""
import sys

import httpx

url = sys.argv[1]
print(httpx.Client(http1=False, http2=True).get(url).text, end="")
