"""How every 95 % interval of a district or an asset is reckoned: one quantile, one correlation of errors."""

#: Correlation between the errors of pixels, so that an area's error does not vanish with its size [1].
ERROR_CORRELATION = 0.25

#: Quantile of the normal distribution for a two-sided interval of 95 % [1].
NORMAL_QUANTILE_95 = 1.959963984540054
