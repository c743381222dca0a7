"""The computations of a segment as the engine runs them.

    condition -> prefill -> decode -> (latents) -> prepare -> flow -> vocode
                              ^                                        |
                              +-------------- next window -------------+

A segment without a listener draws all its codes first and is one window; with one, the codes of a window are
spoken as soon as they are there. `latents` is the second pass of official positions.
"""
