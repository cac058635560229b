"""HTML pages: each is one file that holds its style and its pictures, runs no script and loads nothing.

Results of `tfvlad.evaluation` and `tfvlad.sweep` enter, ready to be shown; pages leave. Nothing is measured or chosen
here: this package only settles where things lie on a page, and how they are written. ``templates/`` holds the Jinja
templates of the pages. It may import `tfvlad.sweep`, `tfvlad.evaluation`, `tfvlad.images` and `tfvlad.storage`.
"""
