"""Project Wycheproof's vectors: no false accept, and each unexplained refusal by name.

They are not part of the repository: they are looked for in the directory that
MARQUE_WYCHEPROOF names (testvectors_v1 of C2SP/wycheproof), else beside the repository.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from marque import VerificationError
from marque._verify.jws import check_signature, split
from marque._verify.keys import PublicKey, parse_key

# Characters outside base64url, which lenient decoders skip; no token is empty; Figure13's key
# ids have characters that no key id of an issuer of ours has.
STRICTER = {
    "InvalidCharacterInsertedInHeader",
    "InvalidCharacterInsertedInPayload",
    "emptyPayload",
    "Figure13",
}
NOT_OFFERED = {"RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "ES256K"}
SYMMETRIC = {"HS256", "HS384", "HS512"}


def vectors(name: str) -> dict[str, Any]:
    said = os.environ.get("MARQUE_WYCHEPROOF")
    beside = Path(__file__).resolve().parents[4] / "shared" / "vectors"
    folder = Path(said) if said else beside
    for file in (folder / f"wycheproof_{name}", folder / name):
        if file.is_file():
            return json.loads(file.read_text("utf-8"))
    if said:
        pytest.fail(f"there is no {name} in the directory that MARQUE_WYCHEPROOF names")
    pytest.skip("set MARQUE_WYCHEPROOF to the directory testvectors_v1 of C2SP/wycheproof")


def keys_of(raw: Any) -> dict[str, PublicKey]:
    """As a key set is read: unusable keys left out, nothing of a kid that stands twice."""
    found: dict[str, PublicKey] = {}
    twice: set[str] = set()
    for jwk in raw.get("keys", [raw]):
        try:
            key = parse_key(jwk)
        except ValueError:
            continue
        twice |= {key.kid} & found.keys()
        found[key.kid] = key
    return {kid: key for kid, key in found.items() if kid not in twice}


def accepted(jws: Any, keys: dict[str, PublicKey]) -> bool:
    try:
        parts = split(jws, {})
        key = keys.get(parts.header.kid)
        if key is None:
            return False
        check_signature(parts, key)
    except VerificationError:
        return False
    return True


def algorithm_of(jws: Any) -> str:
    try:
        return json.loads(base64.urlsafe_b64decode(jws.split(".")[0] + "=="))["alg"]
    except (ValueError, KeyError, AttributeError):
        return ""


@pytest.mark.parametrize("name", ["json_web_signature_test.json", "json_web_key_test.json"])
def test_wycheproof_vectors_give_no_false_accept(
    name: str, record_property: Any, capsys: Any
) -> None:
    file = vectors(name)
    ran = good = explained = 0
    for group in file["testGroups"]:
        keys = keys_of(group.get("public") or group["private"])
        for vector in group["tests"]:
            ran += 1
            jws, algorithm = vector["jws"], algorithm_of(vector["jws"])
            what = f"{vector['tcId']} {vector['comment']} ({algorithm})"
            if accepted(jws, keys):
                assert vector["result"] == "valid", f"accepted, must be refused: {what}"
                good += 1
            elif vector["result"] == "valid":
                reason = vector["comment"] in STRICTER or algorithm in NOT_OFFERED | SYMMETRIC
                assert reason, f"refused, called valid, and no reason is listed: {what}"
                explained += 1
    assert ran == file["numberOfTests"]
    assert good > 0
    record_property("vectors", f"{ran} run, {good} accepted, {explained} refused with a reason")
