"""Number formats, sites, fake quantizers, observers, the one Q/DQ writer and its integer reference."""
