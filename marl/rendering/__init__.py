"""Pictures, movies and a live window of any `marl.worlds.scene.Scene`."""
