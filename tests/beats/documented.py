"""What the document of the beat generator shows, answer by answer; and how an answer is held to it."""

from __future__ import annotations

import re
from typing import Any

#: A moment as the document writes it.
MOMENT = "2025-12-13T10:30:00.000Z"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

VERSION_EXAMPLE: dict[str, Any] = {
    "id": "version-uuid-1",
    "versionNumber": 1,
    "isPrimary": True,
    "status": "completed",
    "source": "suno",
    "duration": 180.5,
    "sunoAudioUrl": "https://cdn1.suno.ai/abc123.mp3",
    "filesDownloaded": True,
    "createdAt": MOMENT,
}
#: The data model of a version; null stands where the model allows it.
VERSION_MODEL: dict[str, Any] = {
    "id": "x",
    "beatId": "x",
    "versionNumber": 1,
    "source": "suno",
    "isPrimary": True,
    "status": "completed",
    "sunoAudioUrl": None,
    "sunoImageUrl": None,
    "sunoStreamUrl": None,
    "sunoAudioId": None,
    "sunoTaskId": None,
    "fileUrl": None,
    "coverArtPath": None,
    "wavUrl": None,
    "duration": None,
    "modelName": None,
    "bpm": None,
    "musicalKey": None,
    "filesDownloaded": True,
    "wavConversionStatus": "not_started",
    "createdAt": MOMENT,
    "updatedAt": MOMENT,
}
BEAT_MODEL: dict[str, Any] = {
    "id": "x",
    "templateId": "x",
    "name": "x",
    "genre": "x",
    "style": "x",
    "mood": "x",
    "useCase": "x",
    "tags": ["x"],
    "description": "x",
    "basePrompt": "x",
    "normalizedPrompt": "x",
    "bpm": None,
    "musicalKey": None,
    "duration": None,
    "modelName": None,
    "sunoAudioUrl": None,
    "sunoImageUrl": None,
    "sunoStreamUrl": None,
    "sunoAudioId": None,
    "sunoTaskId": None,
    "fileUrl": "x",
    "coverArtPath": None,
    "previewPath": None,
    "wavUrl": None,
    "alternateFileUrl": None,
    "alternateSunoAudioUrl": None,
    "alternateDuration": None,
    "generationStatus": "completed",
    "wavConversionStatus": "not_started",
    "filesUploaded": False,
    "createdAt": MOMENT,
    "versions": [VERSION_MODEL],
}
LISTED: dict[str, Any] = {
    "id": "f81570f8-eaa0-4e28-8372-db417fd559d1",
    "name": "Summer Cruise Type Beat – Happy Nostalgic",
    "genre": "LoFi",
    "style": "Melodic",
    "mood": "Happy",
    "useCase": "Advertising",
    "tags": ["summer", "nostalgic", "upbeat"],
    "description": "Happy nostalgic lofi beat...",
    "bpm": None,
    "musicalKey": None,
    "duration": None,
    "modelName": None,
    "generationStatus": "completed",
    "filesUploaded": False,
    "createdAt": MOMENT,
    "sunoAudioUrl": None,
    "sunoImageUrl": None,
    "sunoStreamUrl": None,
    "fileUrl": "output/beats/2025-12/13/f81570f8.mp3",
    "coverArtPath": None,
    "wavUrl": None,
    "wavConversionStatus": "not_started",
}
#: As the document shows one that is completed.
LISTED_WITH_AUDIO: dict[str, Any] = {
    **LISTED,
    "bpm": 85,
    "musicalKey": "C Major",
    "duration": 180.5,
    "modelName": "chirp-v3-5",
    "sunoAudioUrl": "https://cdn1.suno.ai/abc123.mp3",
    "sunoImageUrl": "https://cdn1.suno.ai/image_abc123.png",
    "sunoStreamUrl": "https://cdn1.suno.ai/abc123_stream.mp3",
    "coverArtPath": "output/covers/f81570f8.png",
}
PAGINATION: dict[str, Any] = {"page": 1, "limit": 20, "total": 7, "totalPages": 1}
QUERY: dict[str, Any] = {"data": [LISTED], "pagination": PAGINATION}
PENDING: dict[str, Any] = {
    "data": [
        {
            "id": "aefcc62a-c0b3-4a9a-86ba-74cdd2ec2763",
            "name": "Nocturnal Vibes Type Beat – Dark/Atmospheric",
            "genre": "Trap",
            "style": "Dark",
            "mood": "Atmospheric",
            "generationStatus": "pending",
            "createdAt": MOMENT,
        }
    ],
    "pagination": PAGINATION,
}
METADATA_ONLY: dict[str, Any] = {
    "success": True,
    "mode": "metadata_only",
    "beat": {
        "id": "new-uuid",
        "name": "Energy Surge Type Beat – Dark Aggressive",
        "genre": "Trap",
        "style": "Dark",
        "mood": "Aggressive",
        "generationStatus": "pending",
        "filesUploaded": False,
        "createdAt": MOMENT,
    },
    "message": "Beat metadata created. Use POST /beats/:id/generate-audio to generate audio files.",
}
FULL: dict[str, Any] = {
    "success": True,
    "mode": "full",
    "beat": {
        "id": "new-uuid",
        "name": "Sunset Dreams Type Beat – Melodic Calm",
        "genre": "LoFi",
        "style": "Melodic",
        "mood": "Calm",
        "generationStatus": "processing",
        "sunoTaskId": "task-xyz-789",
        "createdAt": MOMENT,
    },
    "version": {
        "id": "version-uuid",
        "versionNumber": 1,
        "isPrimary": True,
        "status": "pending",
        "sunoTaskId": "task-xyz-789",
    },
    "message": "Beat generation started. Files will be ready via webhook callback.",
}
BATCH: dict[str, Any] = {
    "success": True,
    "mode": "metadata_only",
    "count": 5,
    "beats": [{"id": "uuid-1", "name": "Beat 1", "genre": "Trap", "generationStatus": "pending"}],
    "message": "5 beats created successfully",
}
#: With what else its workflow uses: the answer of 3.1 and the task of the example "Create Beat".
AUDIO_BEGUN: dict[str, Any] = {
    "success": True,
    "beatId": "aefcc62a-c0b3-4a9a-86ba-74cdd2ec2763",
    "version": {
        "id": "version-uuid",
        "versionNumber": 1,
        "sunoAudioUrl": None,
        "sunoImageUrl": None,
        "duration": None,
        "modelName": None,
        "isPrimary": True,
        "status": "pending",
        "sunoTaskId": "task-xyz",
    },
}
VERSION_STARTED: dict[str, Any] = {
    "success": True,
    "beatId": "f81570f8-eaa0-4e28-8372-db417fd559d1",
    "version": {
        "id": "new-version-uuid",
        "versionNumber": 2,
        "isPrimary": False,
        "status": "pending",
        "sunoTaskId": "task-new-version",
        "filesDownloaded": False,
        "createdAt": MOMENT,
    },
    "message": "New version generation started. Webhook will update when ready.",
}
VERSIONS: dict[str, Any] = {"beatId": "f81570f8-eaa0-4e28-8372-db417fd559d1", "versions": [VERSION_MODEL]}

#: What we say beside what the document shows.
ADDED = frozenset(
    {
        "provider", "track", "stage", "failureReason", "analysis", "waveformUrl", "previewUrl", "stemsStatus",
        "urlsExpireAt", "urlsExpired", "downloadProblem", "wavProblem", "code",
    }
)  # fmt: skip


def conforms(answer: Any, shown: Any, place: str = "$") -> None:
    """An answer has every field that is shown, of its type, and no other but what we have added."""
    if shown is None:  # the model says "or null", whatever it is else
        return
    assert type(answer) is type(shown) or {type(answer), type(shown)} <= {int, float}, f"{place}: {answer!r}"
    if isinstance(shown, dict):
        missing = set(shown) - set(answer)
        assert not missing, f"{place} lacks {sorted(missing)}"
        unknown = set(answer) - set(shown) - ADDED
        assert not unknown, f"{place} has {sorted(unknown)}"
        for name, value in shown.items():
            conforms(answer[name], value, f"{place}.{name}")
    elif isinstance(shown, list):
        for index, each in enumerate(answer):
            conforms(each, shown[0], f"{place}[{index}]")
    elif isinstance(shown, str) and _MOMENT.fullmatch(shown):
        assert _MOMENT.fullmatch(answer), f"{place}: {answer!r}"


DOWNLOADED: dict[str, Any] = {
    "success": True,
    "beatId": "f81570f8-eaa0-4e28-8372-db417fd559d1",
    "filesDownloaded": {
        "primary": {"audio": "output/beats/2025-12/13/f81570f8.mp3", "cover": "output/covers/f81570f8.png"},
        "alternate": {"audio": "output/beats/2025-12/13/f81570f8_alt.mp3", "cover": None},
    },
    "versions": [{"versionNumber": 1, "filesDownloaded": True}],
}
WAV_STARTED: dict[str, Any] = {
    "success": True,
    "beatId": "f81570f8-eaa0-4e28-8372-db417fd559d1",
    "wavConversion": {
        "status": "processing",
        "taskId": "wav-task-123",
        "message": "WAV conversion started. Use webhook or poll GET /beats/:id to check status.",
    },
}
WAV_STATUS: dict[str, Any] = {
    "beatId": "f81570f8-eaa0-4e28-8372-db417fd559d1",
    "wavConversionStatus": "completed",
    "wavUrl": "output/beats-wav/2025-12/13/f81570f8.wav",
    "wavTaskId": "wav-task-123",
}
