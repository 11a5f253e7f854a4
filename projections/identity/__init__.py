"""How people and keys are found."""
