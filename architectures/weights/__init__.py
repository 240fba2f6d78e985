"""Weights from files, from keras.applications and from other networks, and the preprocessing that belongs to them."""
