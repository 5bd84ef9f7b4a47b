"""Audio signals: files, mel spectrograms, priors, mel consistency, excitation, loudness.

Knows no diffusion and no networks. Waveforms are float tensors `(B, T)` or `(T,)` with full scale at +-1, mels are
`(B, M, F)` or `(M, F)`; every mel belongs to a `audiodiff.audio.mel.MelSpec`.
"""
