"""Commands of families that need more than a family may import: runs, tables, pages."""

OURS = {
    "import": "weft.verbs.feedback_exchange:import_",
    "data fit": "weft.verbs.gaussvae_splats:fit",
    "data draw": "weft.verbs.gaussvae_splats:draw",
    "data convert": "weft.verbs.gaussvae_splats:convert",
    "compress": "weft.verbs.gaussvae_pictures:compress",
    "decompress": "weft.verbs.gaussvae_pictures:decompress",
}
"""What weft's own families say in their `verbs`, for lists of commands: `weft --help` would take
twice as long if it asked them. A test holds it against the families."""
