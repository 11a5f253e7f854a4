"""What is published of catalogue."""

from __future__ import annotations

from domain.catalogue.browser_profiles import (
    BrowserProfileImported,
    BrowserProfileRemoved,
)
from domain.catalogue.imports import (
    ImportAnswered,
    ImportCompleted,
    ImportPaused,
    ImportRefused,
    ImportRequested,
)
from domain.catalogue.mappings import (
    MappingRemoved,
    MappingSaved,
)
from domain.catalogue.releases import (
    ReleaseArtworkKept,
    ReleaseAudioKept,
    ReleaseChanged,
    ReleaseDrafted,
    ReleaseRemoved,
)
from domain.catalogue.tracks import (
    TrackAdded,
    TrackChanged,
    TrackLinked,
    TrackRemoved,
)
from domain.published import published

PUBLISHED = (
    published(TrackAdded),
    published(TrackChanged),
    published(TrackLinked),
    published(TrackRemoved),
    published(ImportRequested, hidden=("kept_size", "kept_sha256")),
    published(ImportPaused),
    published(ImportAnswered),
    published(ImportCompleted),
    published(ImportRefused),
    published(ReleaseDrafted),
    published(ReleaseChanged),
    published(ReleaseArtworkKept),
    published(ReleaseAudioKept),
    published(ReleaseRemoved),
    published(MappingSaved),
    published(MappingRemoved),
    published(BrowserProfileImported),
    published(BrowserProfileRemoved),
)
