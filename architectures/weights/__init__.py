"""Weights from files and from other networks, also of keras.applications, torchvision and timm; their preprocessing."""
