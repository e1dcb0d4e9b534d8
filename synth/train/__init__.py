"""Training on a dataset version, over TRL.

The kinds are in `synth.trainings`; `run` starts one in a process of its own and keeps what it
made; `held_out` measures models before and after on pairs that none was trained on.
"""
