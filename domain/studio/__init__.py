"""The studio: what its parts have in common, above all the projects that builds and activation keys belong to."""
