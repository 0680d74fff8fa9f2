"""A base pipeline that lies outside the package: what one needs to be, and no more."""
