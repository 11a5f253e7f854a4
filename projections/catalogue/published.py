"""What is published of catalogue."""

from __future__ import annotations

from domain.catalogue.accounts import (
    DistributionAccountAdded,
    DistributionAccountRemoved,
)
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
    ReleaseAssigned,
    ReleaseAudioKept,
    ReleaseChanged,
    ReleaseDrafted,
    ReleaseRemoved,
)
from domain.catalogue.tables import (
    TablesConnected,
    TablesDisconnected,
    TablesNotPushed,
    TablesPushed,
)
from domain.catalogue.tracks import (
    TrackAdded,
    TrackChanged,
    TrackLinked,
    TrackRemoved,
)
from domain.catalogue.uploads import (
    UploadSessionAbandoned,
    UploadSessionCompleted,
    UploadSessionExpired,
    UploadSessionStarted,
    UploadStepReported,
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
    published(ReleaseChanged, hidden=("history_bytes",)),
    published(ReleaseArtworkKept),
    published(ReleaseAudioKept),
    published(ReleaseAssigned),
    published(ReleaseRemoved),
    published(MappingSaved),
    published(MappingRemoved),
    published(BrowserProfileImported),
    published(BrowserProfileRemoved),
    published(DistributionAccountAdded),
    published(DistributionAccountRemoved),
    published(UploadSessionStarted),
    published(UploadStepReported),
    published(UploadSessionCompleted),
    published(UploadSessionAbandoned),
    published(UploadSessionExpired),
    published(TablesConnected, hidden=("secret_id",)),
    published(TablesPushed),
    published(TablesNotPushed),
    published(TablesDisconnected, hidden=("secret_id",)),
)
