"""Text of eight domains out of Debian packages: where it comes from and how it is cut out."""
