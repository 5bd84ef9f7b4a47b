"""Networks over tensors `(B, C, T)`: the 1-D U-Net, its front ends, the autoencoder.

A `Network` is a front end (samples to feature frames and back) around one 1-D U-Net. Every network takes any input
length, outputs zero at initialization, and computes a clip independently of the others in its batch: there are no
statistics over time or batch, and positions beyond a clip's `Condition.samples` are masked at every layer.
"""

from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends import Frontend, IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.nn.unet1d import UNet1d

__all__ = [
    "Autoencoder",
    "Condition",
    "Frontend",
    "IdentityFrontend",
    "Network",
    "PitchNetwork",
    "StftFrontend",
    "StridedFrontend",
    "UNet1d",
]
