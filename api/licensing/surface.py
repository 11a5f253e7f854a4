"""Plug-in activation: the studio's contract, with the codes that its own routes document."""

from __future__ import annotations

from dataclasses import replace

from api.studio.surface import CODES, STUDIO
from domain.licensing.codes import InvalidCode, InvalidFingerprints, InvalidMachineId
from domain.licensing.licenses import (
    CodeExpired,
    CodeNotFound,
    CodeRevoked,
    CodeTaken,
    LicenseWasTransferred,
    MaxActivationsReached,
    NotActivated,
    TooManyActivations,
    VersionNotCovered,
)
from domain.licensing.sheets import InvalidSheet
from domain.licensing.signing_keys import KeyWasRotated

ACTIVATION = replace(
    STUDIO,
    title="Plug-in activation",
    prefixes=("/functions/v1/plugin-activation",),
    codes={
        **CODES,
        InvalidCode: "invalid_code",
        InvalidMachineId: "invalid_machine_id",
        InvalidFingerprints: "invalid_fingerprints",
        CodeNotFound: "code_not_found",
        CodeRevoked: "code_revoked",
        CodeExpired: "code_expired",
        MaxActivationsReached: "max_activations_reached",
        VersionNotCovered: "version_not_covered",
        NotActivated: "not_activated",
        TooManyActivations: "too_many_activations",
        CodeTaken: "code_taken",
        InvalidSheet: "invalid_sheet",
        KeyWasRotated: "key_was_rotated",
        LicenseWasTransferred: "license_was_transferred",
    },
    lenient=frozenset(
        {
            "POST /functions/v1/plugin-activation/activate",
            "POST /functions/v1/plugin-activation/deactivate",
            "POST /functions/v1/plugin-activation/validate",
            "POST /functions/v1/plugin-activation/generate",
            "GET /functions/v1/plugin-activation/status/{}",
            "GET /functions/v1/plugin-activation/project/{}/keys",
        }
    ),
)
