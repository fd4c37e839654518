"""An API lets in who may read invoices. Run it with `uvicorn protect_api:app`."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request

from marque import AsyncVerifier, Principal
from marque.asgi import BearerMiddleware, require

app = FastAPI()
app.add_middleware(
    BearerMiddleware, verifier=AsyncVerifier(), audience="https://invoices.example.com"
)


def reader(request: Request) -> Principal:
    return require(request, "invoices:read")


@app.get("/invoices")
async def invoices(caller: Annotated[Principal, Depends(reader)]) -> dict[str, str]:
    return {"invoices of": caller.subject}
