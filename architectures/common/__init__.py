"""What families have in common: the form of a table's rows, checks, the classifier at the end, output strides."""
