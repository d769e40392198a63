"""What a call costs, measured on the machine at hand: ratios within one run, never absolute figures."""
