"""Networks of others that run in place of ours: keras.applications, timm, plain PyTorch."""
