"""Names for pieces: two words that suit how a piece feels."""

from __future__ import annotations

from adapters.band.chance import Chance
from adapters.band.moods import Feel

DARK = (
    "Midnight",
    "Hollow",
    "Black",
    "Cold",
    "Iron",
    "Silent",
    "Ashen",
    "Phantom",
    "Obsidian",
    "Buried",
    "Grey",
    "Nocturnal",
    "Feral",
    "Blind",
    "Frozen",
    "Shadow",
)
BRIGHT = (
    "Golden",
    "Summer",
    "Velvet",
    "Amber",
    "Coral",
    "Open",
    "Sunlit",
    "Honey",
    "Indigo",
    "Silver",
    "Paper",
    "Blue",
    "Neon",
    "Distant",
    "Early",
    "Slow",
)
NOUNS = (
    "Avenue",
    "Harbour",
    "Signal",
    "Tides",
    "Engine",
    "Orchard",
    "Mirror",
    "Corridor",
    "Satellite",
    "Lantern",
    "Pavement",
    "Garden",
    "Current",
    "Letters",
    "Station",
    "Echo",
    "Ridge",
    "Windows",
    "Cruise",
    "Parallel",
    "Circuit",
    "Weather",
    "Postcard",
    "Horizon",
)


def title_of(felt: Feel, chance: Chance) -> str:
    """Two words, such as "Midnight Avenue"."""
    words = DARK if chance.between(-0.6, 0.6) > felt.bright_mode else BRIGHT
    return f"{chance.one_of(words)} {chance.one_of(NOUNS)}"
