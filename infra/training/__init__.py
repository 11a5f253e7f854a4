"""How the small trained parts of the ears were made: the material, the features, the fit. Never needed at run time."""
