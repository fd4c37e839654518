"""Gets a token, stops it, and tells how long an API still takes it that follows what is revoked.

The account in its environment needs the permissions tokens:revoke and revocations:read.
"""

import time

from marque import Marque, VerificationError, Verifier

MANAGEMENT = "urn:marque:management"

with Marque() as client:
    verifier = Verifier(revocations=client.follow_revocations(wait=30))

    token = client.token(resource=MANAGEMENT, scopes=["audit:read"]).access_token.reveal()
    verifier.verify(token, audience=MANAGEMENT)
    client.revocations.create(token=token)
    stopped = time.monotonic()
    try:
        while time.monotonic() < stopped + 30:
            verifier.verify(token, audience=MANAGEMENT)
            time.sleep(0.001)
    except VerificationError as error:
        print(f"after {time.monotonic() - stopped:.3f} s: {error.reason}")
    verifier.close()
