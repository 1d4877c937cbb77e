"""Reporting: the history of a run, and what is made of it for people."""
