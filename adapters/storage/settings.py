"""Settings of the object store and of uploads."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from domain.sections import Count, Secret, Section, Url, says


class S3(Section, frozen=True):
    """The store of recordings, pictures and details."""

    s3_url: Annotated[
        Url,
        says("`http(s)://...` of any S3 store; empty makes `up` start its own", needed=True, schemes=("http", "https")),
    ] = Url("")
    s3_access_key: Annotated[str, says("Access key id of the S3 store", needed=True)] = ""
    s3_secret_key: Annotated[Secret, says("Secret key of the S3 store", needed=True)] = Secret("")
    s3_bucket: Annotated[str, Meta(min_length=3, max_length=63), says("Bucket for everything stored")] = "ledgerline"
    s3_region: Annotated[str, says("Region that S3 requests are signed for")] = "us-east-1"
    s3_public_url: Annotated[
        Url,
        says(
            "How clients reach the S3 store in signed links; empty means that objects go through the service itself",
            schemes=("http", "https"),
        ),
    ] = Url("")
    presigned_seconds: Annotated[Count, says("How long a signed link to a stored object works")] = 3_600


class Uploads(Section, frozen=True):
    """How files are taken in."""

    uploads_at_once_max: Annotated[
        Count,
        says("Uploads that one process takes at once, a quarter of them of one workspace; more are told to come again"),
    ] = 32
