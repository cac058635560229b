"""The search service: HTTP in front of indexes, and the page at ``/`` on which people search with a photograph.

Index folders and `ServiceSettings` enter through `tfvlad.service.server.serve`; answers in JSON and pictures leave. The
way of a search:

    server          connections, with a time limit on each of their steps
    access          who may ask: bearer token, origin, host; the headers of every answer
    bodies          the request's body, bounded in size, time and memory
    search_request  what is asked for, checked field by field
    admission       a place among the requests that are worked on, or 503; threads to work on them
    named_indexes   the index of that name, opened anew where its folder was replaced
    encoder_queue   one encoder for all threads: what waits is encoded together
    answers         hits as JSON, with paths that tell nothing of this machine

`app` ties these to the addresses; `indexed_images` gives originals and thumbnails, `explanations` what agrees,
`monitoring` the metrics, `warming` a first search, and `openapi` describes it all. `page` gives the page, which is in
``static/``: plain HTML, CSS and JavaScript.

This package may import `tfvlad.index`, `tfvlad.reports`, `tfvlad.serving` and what lies below them. It needs the extra
``service`` (``pip install 'tfvlad[service]'``).
"""

from tfvlad.service.settings import ServiceSettings

__all__ = ["ServiceSettings"]
