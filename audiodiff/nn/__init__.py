"""Networks over tensors `(B, C, T)`: the 1-D U-Net, its front ends, the autoencoder.

A `Network` is a front end (samples to feature frames and back) around one 1-D U-Net. Every network keeps these
promises: any input length; output zero at initialization; a clip's output does not depend on what else is in its batch
(no statistics over time or batch, and positions beyond a clip's `Condition.samples` are masked at every layer).
"""
