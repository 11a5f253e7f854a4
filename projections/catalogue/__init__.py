"""The catalogue as it is seen."""
