"""The pages for people: / to try the voice, /bench to read the bench's reports, /docs to read the API.

Their files lie in `static`: plain HTML, CSS and ES modules, which nothing builds and no other host serves.
"""
