"""Front ends: from samples to feature frames and back."""

from audiodiff.nn.frontends.frontend import Frontend, IdentityFrontend, StftFrontend, StridedFrontend

__all__ = ["Frontend", "IdentityFrontend", "StftFrontend", "StridedFrontend"]
