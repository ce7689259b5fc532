"""A site's client as a real process: a SuperNode as its child, and a worker that runs the site's own code."""
