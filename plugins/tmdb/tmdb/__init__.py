"""Looks films and series up in The Movie Database."""
