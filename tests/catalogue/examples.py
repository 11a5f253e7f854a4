"""One ordinary example of every command of the catalogue."""

from __future__ import annotations

from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack, RemoveTrack
from domain.catalogue.tracks import Details
from tests.examples import Example

details = Details(title="Song Name", artist="Artist Name", upc="123456789012")
added = AddTrack(track_id="track-1", workspace_id="w1", isrc="USXXX1234567", details=details)

EXAMPLES = (
    Example(added),
    Example(ChangeTrack(track_id="track-1", workspace_id="w1", changes=Changes(title="Another Name")), [added]),
    Example(RemoveTrack(track_id="track-1", workspace_id="w1"), [added]),
)
