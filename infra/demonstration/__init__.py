"""The main job from one command: input, run, proof, summary."""
