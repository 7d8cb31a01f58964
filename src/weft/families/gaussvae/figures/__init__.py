"""Everything gaussvae draws."""
