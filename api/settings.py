"""Settings of the edge."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Section, says

#: What one address may do in an hour while somebody develops against a server of their own.
DEVELOPMENT_LIMIT = 1_000


class Rates(Section, frozen=True):
    """How often anybody may ask."""

    rate_limit_per_minute: Annotated[Count, says("Requests of one key in 60 seconds")] = 60
    mcp_limit_per_minute: Annotated[
        Count, says("Requests of one key to `/mcp` in 60 seconds; what its tools ask counts where it is asked, too")
    ] = 300
    demo_limit_per_hour: Annotated[Count, says("Anonymous demo analyses from one address")] = 5
    register_limit_per_hour: Annotated[
        Count,
        says(
            f"Registrations, and further workspaces, from one address; {DEVELOPMENT_LIMIT} in development on loopback",
            development=DEVELOPMENT_LIMIT,
        ),
    ] = 20
    register_limit_per_day: Annotated[
        Count,
        says(f"The same in 24 hours; {DEVELOPMENT_LIMIT} in development on loopback", development=DEVELOPMENT_LIMIT),
    ] = 60
    sign_in_limit_per_hour: Annotated[
        Count,
        says(
            f"Sign-ins from one address; {DEVELOPMENT_LIMIT} in development on loopback", development=DEVELOPMENT_LIMIT
        ),
    ] = 60
    code_limit_per_hour: Annotated[
        Count,
        says(
            f"Codes and invitations to one mailbox from one source; {DEVELOPMENT_LIMIT} in development on loopback",
            development=DEVELOPMENT_LIMIT,
        ),
    ] = 5
