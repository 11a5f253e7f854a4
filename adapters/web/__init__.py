"""Other people's servers over guarded HTTP, signatures, and how often anybody may ask ours."""
