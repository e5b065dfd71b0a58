"""`doctor watch`: a running training and its disk, followed and judged. Following and judging are apart."""
