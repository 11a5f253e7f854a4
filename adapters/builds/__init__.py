"""Where builds wait for runners, workflows that make them elsewhere, and secrets of projects."""
