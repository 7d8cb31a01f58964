"""Parts of the loss: splats, latents, pictures, and how they are weighted over time."""
