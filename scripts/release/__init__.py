"""Checks of the packages of a release."""
