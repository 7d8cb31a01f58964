"""Commands of families that need more than a family may import: runs, tables, pages."""

OURS = {
    "import": "weft.verbs.feedback_exchange:import_",
    "data fit": "weft.verbs.gaussvae_splats:fit",
    "data draw": "weft.verbs.gaussvae_splats:draw",
    "data convert": "weft.verbs.gaussvae_splats:convert",
    "compress": "weft.verbs.gaussvae_pictures:compress",
    "decompress": "weft.verbs.gaussvae_pictures:decompress",
}
"""A copy of what weft's own families say in `verbs`: `weft --help` would take twice as long if it
imported them. A test compares it with the families."""
