"""Tests of where sources are; their rules are put to the test with those of builds."""
