"""The network: backbones, text encoder, base pipeline and what LoSh adds to it."""
