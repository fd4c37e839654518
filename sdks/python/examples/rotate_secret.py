"""An agent replaces its own client secret. The old one works for another hour.

Its role gives `credentials:write` at `urn:marque:management`, and its secret is in the file
that MARQUE_CLIENT_SECRET_FILE names.
"""

import os
from pathlib import Path

from marque import Marque

file = Path(os.environ["MARQUE_CLIENT_SECRET_FILE"])

with Marque() as client:
    me = client.whoami.get().service_account.id
    issued = client.client_secrets.rotate(me, overlap=3600)

    # Whole or not at all, and for nobody else's eyes: other processes read it meanwhile.
    new = file.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(issued.client_secret.reveal())
    new.replace(file)

print(f"the secret now ends with {issued.hint}")
