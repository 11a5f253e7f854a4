"""What is published of beats."""

from __future__ import annotations

from domain.beats.beats import (
    BeatCreated,
    DownloadRequested,
    FilesNotStored,
    FilesStored,
    GenerationCancelled,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
    PrimaryChosen,
    StemsFailed,
    StemsRequested,
    StemsStored,
    VersionCompleted,
    VersionHeard,
    VersionNotHeard,
    VersionUploaded,
    WavFailed,
    WavRequested,
    WavStored,
)
from domain.beats.templates import (
    TemplateDefined,
)
from domain.published import published

PUBLISHED = (
    published(BeatCreated),
    published(GenerationRequested),
    published(GenerationStarted),
    published(GenerationCompleted),
    published(GenerationFailed),
    published(GenerationCancelled),
    published(VersionCompleted),
    published(VersionUploaded),
    published(VersionHeard),
    published(VersionNotHeard),
    published(PrimaryChosen),
    published(FilesStored),
    published(FilesNotStored),
    published(DownloadRequested),
    published(StemsRequested),
    published(StemsStored),
    published(StemsFailed),
    published(WavRequested),
    published(WavStored),
    published(WavFailed),
    published(TemplateDefined),
)
