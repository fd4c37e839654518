"""An agent calls an API. Who it is comes from the environment or a profile."""

import os

import httpx

from marque import Marque

with (
    Marque() as client,
    httpx.Client(auth=client.auth(resource="https://invoices.example.com")) as http,
):
    response = http.get(os.environ["INVOICES_URL"] + "/invoices")
    print(response.raise_for_status().json())
