"""What the API answers with, what stands within requests, and the known values of both."""

from marque._generated.enums import *  # noqa: F403
from marque._generated.models import *  # noqa: F403
