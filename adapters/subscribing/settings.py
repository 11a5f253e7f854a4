"""Settings of NATS for subscribers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from adapters.subscribing.nkeys import NotASeed, public_key
from domain.sections import Secret, Section, Url, says, variable

#: The account of subscribers, and under which name (`domain`, or a prefix of the API) they reach the consumers there.
ACCOUNT = "SUBSCRIBERS"
DOMAIN = "ledgerline"
API = f"$JS.{DOMAIN}.API"

_SCHEMES = ("nats", "tls", "ws", "wss")


class NatsSubscribers(Section, frozen=True):
    """Subscribers who read from NATS themselves; all three empty: nobody does."""

    nats_system_url: Annotated[
        Url,
        says(
            "`nats://...` as the user of the system account, who lets subscribers in; `up` makes its own",
            schemes=_SCHEMES,
        ),
    ] = Url("")
    nats_issuer_seed: Annotated[
        Secret, says("The seed (`SA...`) that signs what a subscriber may do; `ledgerline keys nats` makes one")
    ] = Secret("")
    nats_public_url: Annotated[Url, says("Where subscribers reach NATS, as they are told", schemes=_SCHEMES)] = Url("")

    @property
    def is_open(self) -> bool:
        """Whether subscribers are let in."""
        return bool(self.nats_system_url)

    def problems(self) -> Iterator[str]:
        """One without the others, or a seed that is none."""
        names = ("nats_system_url", "nats_issuer_seed", "nats_public_url")
        given = [name for name in names if getattr(self, name)]
        if given and len(given) < len(names):
            yield f"{', '.join(map(variable, names))} are set together, or not at all."
        if self.nats_issuer_seed:
            try:
                public_key(self.nats_issuer_seed.reveal())
            except NotASeed:
                yield f"{variable('nats_issuer_seed')} is not the seed of an account key; it begins with SA."


def inbox_prefix(workspace_id: str) -> str:
    """Where answers come to the readers of a workspace, and to nobody else."""
    return f"_INBOX_{workspace_id}"
