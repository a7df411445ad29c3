"""Send a GET to the URL in the arguments with httpx, and print the response's content."""
import sys

import httpx

url = sys.argv[1]
print(httpx.Client(http1=False, http2=True).get(url).text, end="")
