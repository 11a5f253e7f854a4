"""Settings of where sources may be."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Secret, Section, Url, says


class Repositories(Section, frozen=True):
    """Repositories of plug-ins."""

    build_local_roots: Annotated[
        tuple[str, ...],
        says(
            "In development, folders below which projects may link local git repositories, with commas; `up` sets the "
            "home and the temporary folder"
        ),
    ] = ()


class Github(Section, frozen=True):
    """An app of your own at GitHub, which lets the studio see repositories."""

    github_app_id: Annotated[str, says("Client id of the app; empty turns GitHub off")] = ""
    github_app_slug: Annotated[str, says("Name of the app in addresses")] = ""
    github_client_secret: Annotated[Secret, says("Client secret of the app")] = Secret("")
    github_private_key: Annotated[Secret, says("Private key of the app, PEM; line ends may be written `\\n`")] = Secret(
        ""
    )
    github_webhook_secret: Annotated[Secret, says("Secret of the app's webhook; without one none is taken")] = Secret(
        ""
    )
    github_url: Annotated[Url, says("Where GitHub is", schemes=("http", "https"))] = Url("https://github.com")
    github_api_url: Annotated[Url, says("Where its API is", schemes=("http", "https"))] = Url("https://api.github.com")
