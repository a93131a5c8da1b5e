"""The only package that talks to the outside: a folder for each system, and what several of them share."""
