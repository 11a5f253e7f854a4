"""What is published of endpoints and secrets. Of deliveries nothing is: who is told of them would have no end of it."""

from __future__ import annotations

from domain.published import published
from domain.webhooks.endpoints import (
    EndpointDescribed,
    EndpointDisabled,
    EndpointEnabled,
    EndpointFailing,
    EndpointMoved,
    EndpointRecovered,
    EndpointRegistered,
    EndpointRemoved,
    EndpointSecretRotated,
    EndpointSubscribed,
)
from domain.webhooks.secrets import (
    SigningSecretRotated,
)

PUBLISHED = (
    published(EndpointRegistered, hidden=("secret_id",)),
    published(EndpointMoved),
    published(EndpointDescribed),
    published(EndpointSubscribed),
    published(EndpointSecretRotated, hidden=("secret_id",)),
    published(EndpointFailing),
    published(EndpointRecovered),
    published(EndpointDisabled),
    published(EndpointEnabled),
    published(EndpointRemoved),
    published(SigningSecretRotated, hidden=("secret_id",)),
)
