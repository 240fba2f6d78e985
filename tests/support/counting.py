"""Counts that follow from a paper's table alone."""


class Count:
    """Parameters and multiply-adds, added up by hand on an image of `size × size`."""

    def __init__(self, size, channels):
        self.size, self.channels, self.params, self.macs = size, channels, 0, 0

    def conv(self, filters, kernel, *, stride=1, norm=True, bias=False, channels=None, keep=True):
        size, channels = -(-self.size // stride), channels or self.channels
        self.params += kernel * kernel * channels * filters + (2 * filters if norm else 0) + (filters if bias else 0)
        self.macs += size * size * kernel * kernel * channels * filters
        if keep:
            self.size, self.channels = size, filters
        return self

    def pool(self, stride=2):
        self.size = -(-self.size // stride)

    def dense(self, features, units):
        self.params += features * units + units
        self.macs += features * units
