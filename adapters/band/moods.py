"""What words like "Dark" or "Calm" do to a piece: every word leans on a few scales, and their sum bends the genre."""

from __future__ import annotations

import re

from domain.kernel import Value


class Feel(Value):
    """Where a piece stands, each from -1 to 1, 0 being what its genre does anyway."""

    #: Minor and low, or major and high.
    bright_mode: float = 0.0
    #: Quiet hands, or hard ones; decides tempo within the range, touch and the level of drums.
    energy: float = 0.0
    #: Few notes, or many.
    density: float = 0.0
    #: Closed filters, or open ones.
    brightness: float = 0.0
    #: Clean, or driven.
    drive: float = 0.0
    #: Dry, or far away.
    space: float = 0.0


#: mode, energy, density, brightness, drive, space
WORDS = {
    "aggressive": (-0.6, 0.9, 0.5, 0.4, 0.9, -0.4),
    "angry": (-0.7, 0.9, 0.4, 0.4, 0.9, -0.4),
    "atmospheric": (-0.1, -0.4, -0.4, -0.2, -0.2, 0.9),
    "bouncy": (0.3, 0.5, 0.5, 0.3, 0.0, -0.2),
    "calm": (0.2, -0.8, -0.5, -0.4, -0.5, 0.4),
    "chill": (0.2, -0.6, -0.3, -0.3, -0.4, 0.3),
    "cinematic": (-0.3, 0.1, -0.1, 0.0, 0.1, 0.8),
    "club": (0.1, 0.7, 0.4, 0.3, 0.3, -0.1),
    "dark": (-0.9, 0.1, -0.1, -0.7, 0.3, 0.2),
    "deep": (-0.3, -0.3, -0.2, -0.6, 0.0, 0.4),
    "driving": (-0.1, 0.7, 0.5, 0.2, 0.4, -0.2),
    "dreamy": (0.3, -0.5, -0.2, 0.0, -0.4, 0.9),
    "emotional": (-0.5, -0.2, 0.0, 0.0, -0.2, 0.5),
    "energetic": (0.2, 0.9, 0.6, 0.4, 0.4, -0.2),
    "epic": (-0.2, 0.7, 0.3, 0.3, 0.3, 0.6),
    "euphoric": (0.7, 0.7, 0.3, 0.6, 0.1, 0.4),
    "gritty": (-0.5, 0.4, 0.1, -0.2, 0.9, -0.3),
    "groovy": (0.2, 0.3, 0.4, 0.1, 0.1, -0.2),
    "happy": (1.0, 0.3, 0.2, 0.4, -0.2, 0.0),
    "hard": (-0.4, 0.8, 0.3, 0.3, 0.8, -0.4),
    "hopeful": (0.8, 0.0, 0.0, 0.3, -0.2, 0.3),
    "hypnotic": (-0.3, 0.1, 0.1, -0.2, 0.1, 0.4),
    "jazzy": (0.2, -0.2, 0.2, -0.1, -0.3, 0.0),
    "liquid": (0.2, -0.1, 0.2, 0.0, -0.4, 0.6),
    "melancholic": (-0.8, -0.5, -0.2, -0.3, -0.3, 0.4),
    "mellow": (0.1, -0.6, -0.3, -0.4, -0.4, 0.2),
    "melodic": (0.1, -0.1, 0.3, 0.1, -0.2, 0.3),
    "minimal": (-0.1, -0.2, -0.8, -0.2, -0.1, 0.0),
    "mysterious": (-0.7, -0.2, -0.3, -0.4, 0.0, 0.6),
    "nostalgic": (0.1, -0.3, -0.1, -0.4, -0.1, 0.4),
    "party": (0.5, 0.8, 0.4, 0.4, 0.2, -0.2),
    "peaceful": (0.6, -0.9, -0.6, -0.2, -0.6, 0.7),
    "raw": (-0.4, 0.5, 0.0, 0.1, 0.8, -0.6),
    "relaxed": (0.4, -0.6, -0.3, -0.2, -0.4, 0.2),
    "retro": (0.1, 0.2, 0.1, 0.0, 0.0, 0.2),
    "romantic": (0.4, -0.3, 0.1, 0.1, -0.4, 0.4),
    "sad": (-1.0, -0.6, -0.3, -0.4, -0.3, 0.4),
    "sleepy": (0.2, -0.9, -0.6, -0.7, -0.5, 0.5),
    "smooth": (0.2, -0.3, 0.0, -0.1, -0.5, 0.2),
    "soulful": (0.2, 0.0, 0.2, 0.0, 0.0, 0.1),
    "summer": (0.9, 0.4, 0.2, 0.5, -0.1, 0.1),
    "tense": (-0.7, 0.4, 0.1, 0.1, 0.4, 0.1),
    "tropical": (0.8, 0.4, 0.3, 0.5, -0.1, 0.1),
    "uplifting": (0.9, 0.5, 0.2, 0.5, 0.0, 0.3),
    "warm": (0.4, -0.3, 0.0, -0.4, -0.1, 0.2),
}


def feel(*texts: str) -> Feel:
    """The feel of some words, in any order and any case; unknown ones do nothing."""
    rows = [WORDS[word] for text in texts for word in re.findall(r"[a-z]+", text.lower()) if word in WORDS]
    if not rows:
        return Feel()
    # Two words that agree say more than one, so they add up, but nothing goes beyond the end of its scale.
    sums = [max(-1.0, min(1.0, sum(column) / len(rows) ** 0.5)) for column in zip(*rows, strict=True)]
    return Feel(**dict(zip(Feel.__struct_fields__, sums, strict=True)))
