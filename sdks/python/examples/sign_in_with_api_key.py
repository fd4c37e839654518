"""An agent signs in by an API key, which stands in a file, and calls an API.

It needs no client id; MARQUE_ISSUER says where the key is from. With MARQUE_API_KEY_FILE set,
nothing about it would stand in the code: `Marque()` does the same.
"""

import os

import httpx

from marque import Marque

with (
    Marque(api_key_file=os.environ["AGENT_KEY_FILE"]) as client,
    httpx.Client(auth=client.auth(resource="https://invoices.example.com")) as http,
):
    response = http.get(os.environ["INVOICES_URL"] + "/invoices")
    print(response.raise_for_status().json())
